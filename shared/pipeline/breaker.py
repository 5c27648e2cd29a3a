"""Circuit breaker: stops asking a model that fails, and finds out by single probes when it works again.

closed     every call goes through; `failure_threshold` failures in a row open it
open       no call goes through until `open_seconds` have passed
half_open  one probe at a time goes through; its success closes, its failure opens again
"""

from __future__ import annotations

from typing import Literal

from shared.clock import Clock

BreakerState = Literal["closed", "open", "half_open"]


class CircuitBreaker:
    """Every allowed call must be answered by exactly one of `succeeded`, `failed` or `abandoned`."""

    def __init__(self, clock: Clock, *, failure_threshold: int = 5, open_seconds: float = 30.0) -> None:
        self._clock = clock
        self._failure_threshold = failure_threshold
        self._open_seconds = open_seconds
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        if self._opened_at is None:
            return "closed"
        return "open" if self.retry_in_seconds > 0 else "half_open"

    @property
    def retry_in_seconds(self) -> float:
        """Until the next probe may go through; 0 where it may now."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._open_seconds - self._clock.monotonic())

    def allow(self) -> bool:
        """Whether a call may be made now; True in half_open takes the one probe."""
        state = self.state
        if state == "closed":
            return True
        if state == "open" or self._probing:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._opened_at = None
        self._probing = False

    def failed(self) -> None:
        self._failures += 1
        tripped = self._opened_at is None and self._failures >= self._failure_threshold
        if self._probing or tripped:
            self._opened_at = self._clock.monotonic()
        self._probing = False

    def abandoned(self) -> None:
        """The call says nothing about the provider: cancelled, refused for its content, out of limits."""
        self._probing = False
