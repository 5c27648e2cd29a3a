"""Errors tell the edge what to do with the message that caused them.

    EvolineError
    ├── PermanentError            never succeeds by itself: answer, dead-letter
    │   ├── InvalidInputError     a message, document or file is wrong; carries every problem found
    │   ├── NotFoundError
    │   ├── NotAttestedError      a run that nobody approved
    │   ├── NotAuthorizedError    a command that its sender may not give
    │   ├── OutOfScopeError       a trial outside what its scope allows
    │   ├── FrozenError           a search or change while people keep everything as it is
    │   ├── PipelineCycleError    a nested run of what an outer run executes already
    │   ├── LimitReachedError     time, steps, calls, tokens, cost, depth or quota used up
    │   ├── StepLimitError        a bound of one step: rounds, rows, bytes; the step fails, the run may go on
    │   ├── ProviderRefusedError  a model provider says no: bad request, credentials, blocked content
    │   │   └── NotRecordedError  a cassette is replayed that holds no such request
    │   └── ConfigurationError    this process cannot work as it is set up
    ├── TransientError            may succeed later: retry with delay
    │   ├── UnavailableError      a server or service does not answer
    │   └── ProviderError         a model provider failed; `kind` says how
    └── FencedError               another owner took over: stop, write nothing more

Whatever is none of these is unknown: retried up to the consumer's limit, then dead-lettered.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Problem(BaseModel):
    """One thing that is wrong, where, and what to do about it."""

    model_config = ConfigDict(frozen=True)

    path: str = ""
    """Dotted path inside the message or document, as `steps[2].prompt`; empty for the whole."""
    reason: str
    suggestion: str = ""
    file: str = ""
    line: int = 0
    """1-based; 0 where the source has no lines."""

    def __str__(self) -> str:
        place = ":".join(part for part in (self.file, str(self.line) if self.line else "") if part)
        head = " ".join(part for part in (place, self.path) if part)
        tail = f" ({self.suggestion})" if self.suggestion else ""
        return f"{head}: {self.reason}{tail}" if head else f"{self.reason}{tail}"


class EvolineError(Exception):
    """Root of every error that this project raises on purpose."""

    code = "error"


class PermanentError(EvolineError):
    code = "permanent"


class InvalidInputError(PermanentError):
    """Carries all problems at once, so that the author mends them in one go."""

    code = "invalid_input"

    def __init__(self, problems: Sequence[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = Problem(reason=problems)
        if isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class NotFoundError(PermanentError):
    code = "not_found"


class NotAttestedError(PermanentError):
    code = "not_attested"


class NotAuthorizedError(PermanentError):
    code = "not_authorized"


class OutOfScopeError(PermanentError):
    code = "out_of_scope"


class FrozenError(PermanentError):
    code = "frozen"


class PipelineCycleError(PermanentError):
    code = "pipeline_cycle"


class LimitReachedError(PermanentError):
    """`limit` is the name of the limit as documents write it: `seconds`, `steps`, `calls`, ..."""

    code = "limit_reached"

    def __init__(self, limit: str, message: str) -> None:
        self.limit = limit
        super().__init__(message)


class StepLimitError(PermanentError):
    """`limit` is the bound as the step's options write it: `max_iterations`, `max_bytes`, ..."""

    code = "step_limit"

    def __init__(self, limit: str, message: str) -> None:
        self.limit = limit
        super().__init__(message)


class ProviderRefusedError(PermanentError):
    code = "provider_refused"
    replayed = False
    """It comes from a cassette: no provider said so now."""


class NotRecordedError(ProviderRefusedError):
    code = "not_recorded"


class ConfigurationError(PermanentError):
    code = "configuration"


class TransientError(EvolineError):
    """`retry_after_seconds` is a wish of the other side (Retry-After); None lets the edge choose."""

    code = "transient"

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class UnavailableError(TransientError):
    code = "unavailable"


class ProviderError(TransientError):
    """`kind`: rate_limit (429), overload (529, 503), server (5xx), timeout, connection, invalid_answer."""

    code = "provider"
    replayed = False
    """It comes from a cassette: no provider said so now."""

    def __init__(self, kind: str, message: str, retry_after_seconds: float | None = None) -> None:
        self.kind = kind
        super().__init__(message, retry_after_seconds)


class FencedError(EvolineError):
    code = "fenced"
