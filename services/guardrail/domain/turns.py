"""Changes of one pipeline are judged one after the other, as they came; those of different pipelines beside each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """First come, first served, a pipeline. Within one process; between processes the store's order counts."""

    def __init__(self, looks_at_once: int = 1000) -> None:
        """`looks_at_once`: at sealed cases, whatever the pipeline; they take minutes."""
        self.looks = asyncio.Semaphore(looks_at_once)
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, pipeline: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(pipeline) or (asyncio.Lock(), 0)
        self._locks[pipeline] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[pipeline]
            if users == 1:
                del self._locks[pipeline]
            else:
                self._locks[pipeline] = (lock, users - 1)
