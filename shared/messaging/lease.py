"""How long a delivery is ours. The broker takes signs of life, naks and terminations from any delivery of a message, also from one
that it gave up: a process that was stalled for longer than `ack_wait` would keep the message alive for an owner that died since, or
take it away from the one that works on it now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import nats.errors
from nats.aio.msg import Msg

from shared.clock import Clock
from shared.ending import end_tasks


class Lease:
    """One delivery's claim on its message, from its arrival until `ack_wait_seconds` after the last sign of life."""

    def __init__(self, message: Msg, clock: Clock, *, ack_wait_seconds: float, beat_seconds: float) -> None:
        self._message = message
        self._clock = clock
        self._ack_wait_seconds = ack_wait_seconds
        self._beat_seconds = beat_seconds
        self._last_sign = clock.monotonic()

    @property
    def is_held(self) -> bool:
        """False once the broker may have given the message to another: only acknowledging what is done is right then."""
        return self._clock.monotonic() - self._last_sign < self._ack_wait_seconds

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Tells the broker that the message is still being worked on; no more once the lease was lost."""
        task = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            await end_tasks(task)

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(self._beat_seconds)
            if not self.is_held:
                return
            # A missed beat is what `ack_wait` is for; a connection that is closed for good ends the process elsewhere.
            with contextlib.suppress(nats.errors.Error, OSError):
                moment = self._clock.monotonic()
                await self._message.in_progress()
                self._last_sign = moment
