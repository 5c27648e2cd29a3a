"""One limit as all executors keep it: decisions on a shared document, written by compare-and-set before anybody calls."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable

from pydantic import ValidationError

from services.executor.domain.limits.fair_queue import FairQueue
from services.executor.domain.limits.listed import ProviderLimit
from services.executor.domain.limits.shared import HELD_SECONDS, SharedLimit
from services.executor.domain.limits.taking import Returned, Taken, Taking, take_turns
from services.executor.engine.permits.permit import Call
from services.executor.engine.permits.slots import Slots
from services.executor.ports import SharedStates
from shared.clock import Clock
from shared.errors import UnavailableError

SETTLE_SECONDS = 0.05
"""How long what was not used may wait for company on its way back."""
BATCH_SHARES = (0.1, 0.2)
"""Calls that wait longer anyway are let go in batches of so many seconds, as shares of the limit's slack: least,
and most where many executors write."""
CONFLICT_SECONDS = 0.001


class FleetLimit:
    """Not for two tasks at once: a lane's own task asks for turns, one after the other."""

    def __init__(
        self, states: SharedStates, clock: Clock, limit: ProviderLimit, executor: str, on_change: Callable[[], None]
    ) -> None:
        self._states = states
        self._clock = clock
        self._limit = limit
        self._me = executor
        self._key = f"limit/{limit.key}"
        self._known: tuple[SharedLimit, int] | None = None
        self._body = b""
        """What was last written, or tried."""
        self._returned = Returned()
        self._settle_at = math.inf
        self._in_flight: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._renew_at = math.inf
        self._changed = on_change
        self._batches = [share * limit.slack_seconds for share in BATCH_SHARES]
        self.batch_seconds = self._batches[0]
        self._random = random.Random(executor)  # noqa: S311  spreads tries, guards nothing
        states.on_change(self._key, self._heard)

    @property
    def has_news(self) -> bool:
        """Something has to be told to the others, now or later."""
        return self._returned != Returned() or (
            self._limit.concurrency is not None and (self._in_flight or self._told) != Counter()
        )

    def ended(self, call: Call, returned: Returned) -> None:
        self._in_flight[call.tenant] -= 1
        self._in_flight += Counter()
        self._give_back(returned)

    async def take(self, queue: FairQueue[Call], slots: Slots, *, may_go: bool = True) -> tuple[list[Call], float]:
        """Calls that may be made now, each with a slot, still in the queue; and when to ask again. Where nobody `may_go`, the
        others are told what there is to tell. Raises `UnavailableError`: nothing was granted then, though it may count as taken."""
        while True:
            room = slots.free if may_go else 0
            known, revision = self._known or await self._read()
            taken = self._decide(known, queue, room)
            again_at = taken.again_at if room else math.inf
            if not (taken.calls or taken.has_news) and self._now() < self._tell_at():
                return [], min(again_at, self._tell_at())
            slots.claim(len(taken.calls))
            if await self._written(taken, revision, slots):
                return taken.calls, min(again_at, self._tell_at())
            await self._clock.sleep(self._random.uniform(0, CONFLICT_SECONDS))

    def _decide(self, known: SharedLimit, queue: FairQueue[Call], room: int) -> Taken[Call]:
        taking = Taking(self._limit, self._me, self._now(), known, queue.waiting)
        taking.report(self._in_flight, self._returned)
        return take_turns(taking, queue, room)

    async def _written(self, taken: Taken[Call], revision: int, slots: Slots) -> bool:
        returned, self._returned = self._returned, Returned()
        body = self._body = taken.shared.model_dump_json().encode()
        flying = self._in_flight + Counter(call.tenant for call in taken.calls)
        self._known, written = None, None
        try:
            written = await self._states.write(self._key, body, revision)
        except (UnavailableError, asyncio.CancelledError):
            # It may have been written: given back once more it would count twice. What was used beyond has to count.
            returned = Returned(min(0, returned.requests), min(0, returned.tokens))
            raise
        finally:
            if written is None:
                slots.give_back(len(taken.calls))
                self._give_back(returned)
        self._adapt(was_first=written is not None)
        if written is None:
            return False
        self._known, self._told = (taken.shared, written), flying
        self._in_flight.update(call.tenant for call in taken.calls)
        self._settle_at = math.inf if self._returned == Returned() else self._settle_at
        self._renew_at = self._now() + HELD_SECONDS / 3 if flying else math.inf
        return True

    def _adapt(self, *, was_first: bool) -> None:
        """Fewer and larger batches where many executors write."""
        least, most = self._batches
        self.batch_seconds = min(most, max(least, self.batch_seconds * (0.8 if was_first else 2)))

    def _tell_at(self) -> float:
        """When something has to be written even where nobody takes anything."""
        if self._limit.concurrency is None:
            return self._settle_at
        changed = self._now() if self._in_flight != self._told else math.inf
        return min(self._settle_at, self._renew_at, changed)

    def _give_back(self, returned: Returned) -> None:
        if returned == Returned():
            return
        self._returned += returned
        self._settle_at = min(self._settle_at, self._now() + SETTLE_SECONDS)

    async def _read(self) -> tuple[SharedLimit, int]:
        body, revision = await self._states.read(self._key)
        try:
            known = SharedLimit.model_validate_json(body) if body else SharedLimit()
        except ValidationError:
            # Not ours: begin with nothing in the buckets.
            known = SharedLimit(requests_empty_at=self._now(), tokens_empty_at=self._now())
        self._known = (known, revision)
        return self._known

    def _heard(self, body: bytes) -> None:
        """Requests come with time only; tokens and places also come back from others."""
        if body == self._body:
            return
        self._known = None
        if self._limit.concurrency is not None or self._limit.tokens_a_minute is not None:
            self._changed()

    def _now(self) -> float:
        return self._clock.now().timestamp()
