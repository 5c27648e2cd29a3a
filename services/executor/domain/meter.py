"""The limits of one run, counted while it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from services.executor.domain.spending import Spending
from shared.errors import InvalidInputError, LimitReachedError, Problem
from shared.events.values import Usage
from shared.pipeline.completion import CompletionRequest
from shared.pipeline.document import Limits

BYTES_PER_TOKEN = 3
"""Lower bound for ordinary text, so that an estimate from bytes is an upper bound of the tokens."""


LEAST_BOUNDS = {"concurrency": 1, "memory_mb": 1}
"""Below these nothing could ever run, and a run would wait for its time to be over; others may be bounded by 0."""


def tightened(limits: Limits, bounds: Mapping[str, float]) -> Limits:
    """The tighter of both for each limit that `bounds` names. Raises `InvalidInputError` for an unknown name or no bound at all."""
    if unknown := sorted(set(bounds) - set(Limits.model_fields)):
        raise InvalidInputError(f"unknown limits: {', '.join(unknown)}")
    if problems := [problem for name, bound in bounds.items() if (problem := _impossible(name, bound))]:
        raise InvalidInputError(problems)
    tighter = {name: min(getattr(limits, name), type(getattr(limits, name))(bound)) for name, bound in bounds.items()}
    return limits.model_copy(update=tighter)


def _impossible(name: str, bound: float) -> Problem | None:
    least = LEAST_BOUNDS.get(name, 0)
    if math.isfinite(bound) and bound >= least:
        return None
    return Problem(path=f"limits.{name}", reason=f"{bound:g} is no limit", suggestion=f"give {least} or more")


def estimated_input_tokens(request: CompletionRequest) -> int:
    """Of what is asked. What bounds the answer is no part of it: the same call is estimated before and after it is bounded."""
    asked = request.model_dump_json(exclude_defaults=True, exclude={"timeout_seconds", "max_tokens"})
    return len(asked.encode()) // BYTES_PER_TOKEN


class RunMeter:
    """Counts steps, calls, tokens and cost of one run; raises `LimitReachedError` before a limit would be passed.

    Tokens in flight are reserved (estimated input plus `max_tokens`), so calls at the same time cannot pass the bound together."""

    def __init__(self, limits: Limits, *, steps: int = 0, usage: Usage | None = None) -> None:
        self.limits = limits
        self.steps = steps
        self.usage = usage or Usage()
        self._reserved_tokens = 0
        self._calls_in_flight = 0

    @property
    def tokens(self) -> int:
        return self.usage.input_tokens + self.usage.output_tokens

    @property
    def cost_left_usd(self) -> float:
        return max(0.0, self.limits.cost_usd - self.usage.cost_usd)

    def start_step(self) -> None:
        if self.steps >= self.limits.steps:
            raise LimitReachedError("steps", f"the run may execute {self.limits.steps} steps")
        self.steps += 1

    def start_call(self, request: CompletionRequest) -> CompletionRequest:
        """Reserves one call; the answer is cut to the tokens that are left."""
        self._check_calls()
        estimate = estimated_input_tokens(request)
        left = self.limits.tokens - self.tokens - self._reserved_tokens - estimate
        if left < 1:
            raise LimitReachedError("tokens", f"the run may use {self.limits.tokens} tokens; {self.tokens} are used")
        bounded = request.model_copy(update={"max_tokens": min(request.max_tokens, left)})
        self._reserved_tokens += estimate + bounded.max_tokens
        self._calls_in_flight += 1
        return bounded

    def end_call(self, bounded: CompletionRequest, usage: Usage) -> Usage:
        """Settles what `start_call` reserved; returns what is charged. A failed attempt is a call without tokens."""
        self.drop_call(bounded)
        charged = usage.model_copy(update={"calls": max(1, usage.calls)})
        self.usage += charged
        return charged

    def drop_call(self, bounded: CompletionRequest) -> None:
        """Gives back what `start_call` reserved for a call that was not made."""
        self._reserved_tokens -= estimated_input_tokens(bounded) + bounded.max_tokens
        self._calls_in_flight -= 1

    def charge(self, usage: Usage, steps: int = 0) -> None:
        """What nested runs used."""
        self.usage += usage
        self.steps += steps

    @property
    def left(self) -> Spending:
        """What nobody uses or has reserved now."""
        limits, usage = self.limits, self.usage
        return Spending(
            steps=max(0, limits.steps - self.steps),
            calls=max(0, limits.calls - usage.calls - self._calls_in_flight),
            tokens=max(0, limits.tokens - self.tokens - self._reserved_tokens),
            cost_usd=self.cost_left_usd,
        )

    def check_cost(self) -> None:
        spent = self.usage.cost_usd
        if spent > 0 and spent >= self.limits.cost_usd:
            raise LimitReachedError("cost_usd", f"the run may cost ${self.limits.cost_usd:g}; ${spent:g} is spent")

    def _check_calls(self) -> None:
        if self.usage.calls + self._calls_in_flight >= self.limits.calls:
            raise LimitReachedError("calls", f"the run may make {self.limits.calls} provider calls")
        self.check_cost()
