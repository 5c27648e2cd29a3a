"""Facts that no message of the bus caused directly."""

from __future__ import annotations

from shared.events.message import Message
from shared.messaging.bus import Bus


class BusAnnouncer:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def announce(self, fact: Message, *, cause: str, effect: str) -> None:
        await self._bus.publish(fact, cause=cause, effect=effect)
