"""The file of a cassette: JSON lines, the first one its version, each other one what a provider was asked and what came of it.

| line | holds |
|---|---|
| `{"evoline_cassette": 1, "recorded_at": ..., "answer_tokens": ...}` | the head |
| `complete` | a request and its outcome, streamed or not |
| `count_tokens` | a request and its tokens |
| `submit`, `results` | a provider's batch: the requests in order, and later their outcomes |

`answer_tokens` is what executors asked for where neither step nor document bounds an answer: a replay has to ask the same.

A request's time-out is not recorded: it is no part of what is asked. Neither are keys: they travel beside the request, and where
one stands inside a text it is blanked. Only the owner may read the file, for prompts are in it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.errors import EvolineError, InvalidInputError, Problem, ProviderError, ProviderRefusedError, UnavailableError
from shared.pipeline.completion import Completion, CompletionRequest

VERSION = 1
HEAD = "evoline_cassette"
OWNER_ONLY = 0o600
BLANK = "[redacted]"


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Outcome(_Line):
    """Exactly one of both."""

    completion: Completion | None = None
    kind: str = ""
    """Of a failure: the kind of `ProviderError`, or `refused`."""
    message: str = ""
    retry_after_seconds: float | None = None

    @classmethod
    def of(cls, answered: Completion | EvolineError) -> Outcome:
        if isinstance(answered, Completion):
            return cls(completion=answered)
        if isinstance(answered, ProviderError):
            return cls(kind=answered.kind, message=str(answered), retry_after_seconds=answered.retry_after_seconds)
        return cls(kind="refused", message=str(answered))

    def replayed(self) -> Completion | EvolineError:
        if self.completion is not None:
            return self.completion.model_copy(update={"replayed": True})
        refused = self.kind == "refused"
        error = ProviderRefusedError(self.message) if refused else ProviderError(self.kind, self.message, self.retry_after_seconds)
        error.replayed = True
        return error


class CompleteLine(_Line):
    call: Literal["complete"] = "complete"
    request: CompletionRequest
    outcome: Outcome


class CountLine(_Line):
    call: Literal["count_tokens"] = "count_tokens"
    request: CompletionRequest
    tokens: int


class SubmitLine(_Line):
    call: Literal["submit"] = "submit"
    batch_id: str
    requests: dict[str, CompletionRequest]


class ResultsLine(_Line):
    call: Literal["results"] = "results"
    batch_id: str
    outcomes: dict[str, Outcome]


Line = CompleteLine | CountLine | SubmitLine | ResultsLine
LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="call")])


class Tape(BaseModel):
    """A cassette that was read."""

    model_config = ConfigDict(frozen=True)

    file: Path
    recorded_at: str
    answer_tokens: int | None = None
    """None: left to the step types."""
    lines: tuple[Line, ...]


def canonical(request: CompletionRequest) -> dict[str, Any]:
    """What is asked, as it is compared."""
    return request.model_dump(mode="json", exclude={"timeout_seconds"}, exclude_defaults=True)


def read_tape(file: Path) -> Tape:
    """Raises `InvalidInputError` with file and line for whatever is no cassette of this version."""
    try:
        texts = file.read_bytes().decode("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        record = "record one first: `evoline up --cassette record:FILE`, or EVOLINE_CASSETTE=record:FILE"
        raise _problem(file, 0, f"cannot be read: {why}", record) from error
    head = _head(file, texts)
    tokens = _answer_tokens(file, head)
    return Tape(file=file, recorded_at=str(head.get("recorded_at", "")), answer_tokens=tokens, lines=tuple(_lines(file, texts)))


def _head(file: Path, texts: Sequence[str]) -> dict[str, Any]:
    try:
        head = json.loads(texts[0])
    except ValueError:
        head = None
    if not isinstance(head, dict) or HEAD not in head:
        raise _problem(file, 1, "this is no cassette", f"its first line is {{{HEAD!r}: {VERSION}, ...}}")
    if head[HEAD] != VERSION:
        raise _problem(file, 1, f"a cassette of version {head[HEAD]}, this Evoline reads version {VERSION}", "record it anew")
    return head


def _answer_tokens(file: Path, head: dict[str, Any]) -> int | None:
    tokens = head.get("answer_tokens")
    if tokens is None or (type(tokens) is int and tokens > 0):
        return tokens
    raise _problem(file, 1, f"answer_tokens is {tokens!r}", "write a number of tokens, or record the cassette anew")


def _lines(file: Path, texts: Sequence[str]) -> Iterator[Line]:
    for number, text in enumerate(texts[1:], start=2):
        try:
            yield LINE.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(each) for each in first["loc"])
            reason = f"line is broken{' at ' + place if place else ''}: {first['msg']}"
            raise _problem(file, number, reason, "take the line out, or record the cassette anew") from error


def _problem(file: Path, line: int, reason: str, suggestion: str) -> InvalidInputError:
    return InvalidInputError(Problem(file=str(file), line=line, reason=reason, suggestion=suggestion))


class TapeWriter:
    """Appends to a cassette that several processes may write at the same time: each line whole, or not at all."""

    def __init__(self, file: Path, secrets: Sequence[str] = (), *, answer_tokens: int | None = None) -> None:
        """Makes the file. Raises `InvalidInputError` where it is there, but no cassette of this version, or one of other
        `answer_tokens`: only one of both could be replayed."""
        self.file = file
        self._answer_tokens = answer_tokens
        self._secrets = [secret for secret in secrets if secret]
        file.parent.mkdir(parents=True, exist_ok=True)
        self._append(None)
        recorded = read_tape(file).answer_tokens
        if recorded != answer_tokens:
            reason = f"was recorded with answer_tokens {recorded}, these executors ask for {answer_tokens}"
            raise _problem(file, 1, reason, "record into another file")

    def add(self, line: Line) -> None:
        """Returns when the line is in the file. Raises `UnavailableError` where it cannot be written."""
        told = line.model_dump(mode="json", exclude_defaults=True) | {"call": line.call}
        self._append(told)

    def _append(self, told: dict[str, Any] | None) -> None:
        try:
            descriptor = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT, OWNER_ONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                os.fchmod(descriptor, OWNER_ONLY)
                if os.fstat(descriptor).st_size == 0:
                    _write_whole(descriptor, self._encoded(self._head()))
                if told is not None:
                    _write_whole(descriptor, self._encoded(told))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise UnavailableError(f"cassette {self.file} cannot be written: {error}") from error

    def _head(self) -> dict[str, Any]:
        head: dict[str, Any] = {HEAD: VERSION, "recorded_at": datetime.now(UTC).isoformat()}
        return head if self._answer_tokens is None else head | {"answer_tokens": self._answer_tokens}

    def _encoded(self, told: dict[str, Any]) -> bytes:
        text = json.dumps(told, ensure_ascii=False)
        for secret in self._secrets:
            text = text.replace(secret, BLANK)
        return text.encode("utf-8", errors="replace") + b"\n"


def _write_whole(descriptor: int, data: bytes) -> None:
    """A disk that fills up in the middle leaves no half of a line."""
    size = os.fstat(descriptor).st_size
    if os.write(descriptor, data) != len(data):
        os.ftruncate(descriptor, size)
        raise OSError("the disk took only a part")
