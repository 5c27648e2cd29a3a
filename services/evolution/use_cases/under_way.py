"""One search at a time for one order in a process: who asks for the same again meanwhile waits for the same end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared.events.message import Message

Effects = list[tuple[str, Message]]


@dataclass
class _Flight:
    task: asyncio.Task[Effects]
    waiting: int = 0


class UnderWay:
    """By a key that is the same for the same order. Every one who waits gets the effects, or the error."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    async def join(self, key: str, begin: Callable[[], Awaitable[Effects]]) -> Effects:
        """The work is cancelled when nobody waits for it any more."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(begin()))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0:
                self._flights.pop(key, None)
                if not flight.task.done():
                    flight.task.cancel()
                    await asyncio.gather(flight.task, return_exceptions=True)
