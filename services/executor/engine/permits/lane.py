"""The calls of one executor that one entry of the limits covers: they wait in turns between tenants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.executor.domain.limits.fair_queue import FairQueue
from services.executor.domain.limits.listed import ProviderLimit
from services.executor.domain.limits.taking import Returned
from services.executor.engine.permits.pauses import Pauses
from services.executor.engine.permits.permit import Call, NoPermitError, Permit
from services.executor.engine.permits.slots import Slots
from services.executor.ports import PermitObserver, SharedStates
from shared.clock import Clock
from shared.ending import end_tasks

ANY_MODEL = "*"


@dataclass(frozen=True)
class LaneParts:
    states: SharedStates
    clock: Clock
    observer: PermitObserver
    executor: str
    """A name that no other process has."""


class Lane:
    """What both kinds have in common; they differ in who lets a waiting call go."""

    def __init__(self, limit: ProviderLimit, slots: Slots, parts: LaneParts) -> None:
        self.limit = limit
        self._slots = slots
        self._clock = parts.clock
        self._observer = parts.observer
        self._queue: FairQueue[Call] = FairQueue()
        self._pauses = Pauses(parts.states, parts.clock, limit.key, self._on_change)
        self._pauses.look()
        slots.on_free(self._on_change)
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @contextlib.asynccontextmanager
    async def permit(self, tenant: str, tokens: int, seconds: float) -> AsyncIterator[Permit]:
        """Waits for this call's turn; for a limit or a pause at most `seconds`, then raises `NoPermitError`. `tokens`: the most
        that it uses."""
        call = Call(tenant, self._expected(tokens), self._now() + seconds)
        permit = Permit(self, call, tokens)
        await self._turn(call, permit, seconds)
        try:
            yield permit
        finally:
            permit.end()

    def end(self, call: Call, returned: Returned) -> None:
        raise NotImplementedError

    def learn(self, asked: int, used: int) -> None:
        """What came of a call that might have used `asked` tokens."""

    def _expected(self, most_tokens: int) -> int:
        return most_tokens

    def pause(self, seconds: float) -> None:
        self._pauses.begin(seconds)
        self._observer.paused(self.limit.provider, self.limit.model or ANY_MODEL)

    async def close(self) -> None:
        self._pauses.close()
        if self._task is not None:
            await end_tasks(self._task)

    async def _turn(self, call: Call, permit: Permit, seconds: float) -> None:
        started = self._clock.monotonic()
        is_first = self._queue.add(call)
        try:
            if self._is_too_late(call):
                self._refuse(call)
            elif is_first:
                self._serve()
            await self._granted(call, seconds)
        except BaseException as error:
            if not self._queue.remove(call) and call.is_granted:
                permit.end()  # its turn came in the moment in which it gave up
            if isinstance(error, NoPermitError):
                self._observer.not_permitted(self.limit.provider, self.limit.model or ANY_MODEL, error.reason)
            raise
        self._observer.waited(self.limit.provider, self.limit.model or ANY_MODEL, self._clock.monotonic() - started)

    async def _granted(self, call: Call, seconds: float) -> None:
        await call.granted

    def _serve(self) -> None:
        """Lets go whoever may."""
        raise NotImplementedError

    def _on_change(self) -> None:
        if self._queue:
            self._serve()

    @property
    def _paused_seconds(self) -> float:
        return max(0.0, self._pauses.until - self._now())

    def _refuse_the_late(self) -> None:
        """Whoever would be too late after the pause need not wait for its end."""
        for call in [call for call in self._queue if self._is_too_late(call)]:
            self._refuse(call)

    def _is_too_late(self, call: Call) -> bool:
        return self._paused_seconds > 0 and call.deadline < self._pauses.until

    def _refuse(self, call: Call) -> None:
        self._queue.remove(call)
        if not call.granted.done():
            left = self._paused_seconds
            reason = f"{self.limit.name}: the provider wants no calls for another {left:.3g} s, which is longer than this one has"
            call.granted.set_exception(NoPermitError(reason, "paused", left))

    def _now(self) -> float:
        return self._clock.now().timestamp()
