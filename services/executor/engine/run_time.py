"""The time that one run has, and the ways in which it ends early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.executor.domain.control import Suspension
from services.executor.domain.outcome import Outcome, failed
from shared.errors import LimitReachedError


class RunTime:
    """In-flight calls are cut off where it ends.

    `is_over` tells nested work that is cut off whether it is to end for good, or will be continued by another executor: a process
    that stops cuts off too, but ends nothing."""

    def __init__(self, seconds_left: float, limit_seconds: float, outer_is_over: Callable[[], bool] | None = None) -> None:
        self._timeout = asyncio.timeout(max(0.0, seconds_left))
        self._limit_seconds = limit_seconds
        self._outer_is_over = outer_is_over
        self._reason = ""
        self._code = "cancelled"
        self._pause: Suspension | None = None
        self._running = False
        self._ended = False

    def cancel(self, reason: str, code: str = "cancelled") -> None:
        """Ends the run as cancelled; harmless where it has ended. The first reason counts."""
        if not self._reason:
            self._reason, self._code = reason, code
        if self._running and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def pause(self, reason: str, author: str, grace_seconds: float) -> None:
        """Ends the run's stay here before its next step, in `grace_seconds` at the latest. A cancelled run is not paused."""
        if self._pause is not None or self._reason:
            return
        self._pause = Suspension("paused", reason, author)
        cut_at = asyncio.get_running_loop().time() + grace_seconds
        ends_at = self._timeout.when()
        if self._running and not self._timeout.expired() and (ends_at is None or cut_at < ends_at):
            self._timeout.reschedule(cut_at)

    @property
    def pausing(self) -> Suspension | None:
        """Why no further step is to begin."""
        return self._pause if not self._reason else None

    def end(self) -> None:
        """The run's end is decided: what is cut off from now on is not continued."""
        self._ended = True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Raises `TimeoutError` where the time is over or the run is cancelled; `outcome` says which."""
        async with self._timeout:
            self._running = True
            try:
                if self._reason:
                    await self._cut()
                yield
            finally:
                self._running = False

    async def _cut(self) -> None:
        """Cancelled before it began: not a step of it is executed."""
        self._timeout.reschedule(asyncio.get_running_loop().time())
        await asyncio.Event().wait()

    @property
    def is_cut(self) -> bool:
        """The time is over, or the run was cancelled."""
        return self._timeout.expired()

    @property
    def outer_is_over(self) -> bool:
        return self._outer_is_over is not None and self._outer_is_over()

    @property
    def is_paused(self) -> bool:
        return self._pause is not None and not self._reason

    @property
    def is_over(self) -> bool:
        return self._ended or (self.is_cut and not self.is_paused) or self.outer_is_over

    @property
    def outcome(self) -> Outcome:
        if self._reason:
            return Outcome("cancelled", error=self._reason, error_code=self._code)
        return failed(LimitReachedError("seconds", f"the run may take {self._limit_seconds:g} s"))
