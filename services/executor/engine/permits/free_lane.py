"""Calls that no limit of the fleet holds up: they take turns for this executor's slots, and heed pauses."""

from __future__ import annotations

import asyncio
from collections import Counter

from services.executor.domain.limits.listed import ProviderLimit
from services.executor.domain.limits.taking import Returned
from services.executor.engine.permits.lane import Lane, LaneParts
from services.executor.engine.permits.permit import Call
from services.executor.engine.permits.slots import Slots


class FreeLane(Lane):
    """Asks nobody: a call that finds a slot goes at once. A slot is waited for as long as the step may take."""

    def __init__(self, limit: ProviderLimit, slots: Slots, parts: LaneParts) -> None:
        self._flying: Counter[str] = Counter()
        super().__init__(limit, slots, parts)

    def end(self, call: Call, returned: Returned) -> None:
        self._flying[call.tenant] -= 1
        self._flying += Counter()
        self._slots.give_back(1)

    def _serve(self) -> None:
        if self._paused_seconds > 0:
            self._refuse_the_late()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._wait_for_the_pause())
            return
        while self._slots.free and self._queue:
            call = self._queue.heads(lambda tenant: (self._flying[tenant],), Counter())[0]
            self._queue.remove(call, had_turn=True)
            if call.granted.done():
                continue  # cut off, and not yet told
            self._slots.claim(1)
            self._flying[call.tenant] += 1
            call.grant()

    async def _wait_for_the_pause(self) -> None:
        while (left := self._paused_seconds) > 0:
            await self._clock.sleep(left)
        self._on_change()
