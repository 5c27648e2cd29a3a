"""Calls under a limit that all executors keep together."""

from __future__ import annotations

import asyncio
import contextlib
import math

import structlog

from services.executor.domain.limits.listed import ProviderLimit
from services.executor.domain.limits.taking import Returned
from services.executor.engine.permits.fleet import FleetLimit
from services.executor.engine.permits.lane import Lane, LaneParts
from services.executor.engine.permits.permit import Call, NoPermitError, Reason
from services.executor.engine.permits.slots import Slots
from shared.errors import UnavailableError

BREATH_SECONDS = 0.002
"""Between two looks at the shared document."""
LEARNING_RATE = 0.1
EXPECTED_MORE = 1.05
"""So much more than the average is taken beforehand: better too much, which comes back."""
UNAVAILABLE_SECONDS = 0.2
LOOK_SECONDS = 1.0
"""How often calls that wait look again, should a hint have been lost."""


class FleetLane(Lane):
    """One task asks for the turns of all that wait. Where the shared document cannot be had, nobody goes."""

    def __init__(self, limit: ProviderLimit, slots: Slots, parts: LaneParts) -> None:
        self._fleet = FleetLimit(parts.states, parts.clock, limit, parts.executor, self._on_hint)
        self._is_away = False
        self._used_share = 1.0
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()
        super().__init__(limit, slots, parts)

    def end(self, call: Call, returned: Returned) -> None:
        self._fleet.ended(call, returned)
        self._slots.give_back(1)
        if self._fleet.has_news:
            self._serve()

    def learn(self, asked: int, used: int) -> None:
        self._used_share += LEARNING_RATE * (min(1.0, used / max(1, asked)) - self._used_share)

    def _expected(self, most_tokens: int) -> int:
        """By what calls used of late. Taking the most that each may use would leave much of a limit unused while calls are under
        way; what was taken too little is taken when the call ends."""
        return math.ceil(most_tokens * min(1.0, EXPECTED_MORE * self._used_share))

    async def _granted(self, call: Call, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds) as timer:
                await call.granted
        except TimeoutError as error:
            if not timer.expired():
                raise
            why = "the limits that executors share cannot be read" if self._is_away else "its limits are used up"
            reason: Reason = "unavailable" if self._is_away else "late"
            raise NoPermitError(f"{self.limit.name}: {why}; this call was to wait {seconds:.3g} s at most", reason) from error

    def _serve(self) -> None:
        self._urgent.set()
        self._changed.set()
        if (self._queue or self._fleet.has_news) and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work())

    def _on_hint(self) -> None:
        """Another executor may have given something back."""
        self._changed.set()

    async def _work(self) -> None:
        while self._queue or self._fleet.has_news:
            self._changed.clear()
            self._urgent.clear()
            seconds = await self._round()
            await self._clock.sleep(BREATH_SECONDS)
            if await _happens(self._changed, seconds - BREATH_SECONDS):
                await _happens(self._urgent, self._fleet.batch_seconds)

    async def _round(self) -> float:
        """Lets go whoever may; returns how long nothing is to be expected."""
        paused = self._paused_seconds > 0
        if paused:
            self._refuse_the_late()
        try:
            granted, again_at = await self._fleet.take(self._queue, self._slots, may_go=not paused)
        except UnavailableError as error:
            self._tell_away(error)
            return UNAVAILABLE_SECONDS
        self._is_away = False
        for call in granted:
            self._hand_out(call)
        again_at = min(again_at, self._pauses.until) if paused else again_at
        return min(LOOK_SECONDS, max(self._fleet.batch_seconds, again_at - self._now()))

    def _hand_out(self, call: Call) -> None:
        """To whoever still waits; what was granted to others meanwhile cut off is given back."""
        if self._queue.remove(call, had_turn=True) and not call.granted.done():
            call.grant()
        else:
            self.end(call, Returned(requests=1, tokens=call.tokens))

    def _tell_away(self, error: UnavailableError) -> None:
        if not self._is_away:
            self._is_away = True
            structlog.get_logger("services.executor").warning(
                "calls wait for their limits", limit=self.limit.name, error=str(error)
            )


async def _happens(event: asyncio.Event, seconds: float) -> bool:
    """Whether it did within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
