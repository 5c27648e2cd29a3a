"""`InMemoryDatabase` whose every call takes time: in a loop with virtual time, what follows each other can be counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.fakes.storage import InMemoryCollection, InMemoryDatabase

CALLS = (
    *("get", "find", "count"),
    *("insert_once", "insert_many", "insert_in_order", "update_if", "update_each", "put", "delete"),
)


class SlowDatabase(InMemoryDatabase):
    """`seconds(call, collection)` passes before a call is done: what it answers is from its end."""

    def __init__(self, seconds: Callable[[str, str], float] = lambda call, collection: 1.0) -> None:
        super().__init__()
        self._seconds = seconds

    def collection(self, name: str) -> InMemoryCollection:
        if name not in self._collections:
            self._collections[name] = _Slow(name, self._seconds)
        return self._collections[name]


class _Slow(InMemoryCollection):
    def __init__(self, name: str, seconds: Callable[[str, str], float]) -> None:
        super().__init__()
        self._is_inside = False
        for call in CALLS:
            setattr(self, call, self._slow(getattr(self, call), seconds(call, name)))

    def _slow(self, call: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        async def slow(*given: Any, **named: Any) -> Any:
            if self._is_inside:
                return await call(*given, **named)
            await asyncio.sleep(seconds)
            # The fake does some calls by others, and none of them waits.
            self._is_inside = True
            try:
                return await call(*given, **named)
            finally:
                self._is_inside = False

        return slow
