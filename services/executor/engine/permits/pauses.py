"""Pauses that providers ask for (Retry-After), known to the whole fleet.

Each executor keeps them in memory: it is told of others' by the store's hints, and reads what was there before it the first time
that it calls a model. So a call costs no look at the store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from services.executor.ports import SharedStates
from shared.clock import Clock
from shared.errors import UnavailableError

TRIES = 5
TRY_AGAIN_SECONDS = 0.2
LONGEST_SECONDS = 86_400.0


class Pauses:
    def __init__(self, states: SharedStates, clock: Clock, name: str, on_change: Callable[[], None]) -> None:
        self._states = states
        self._clock = clock
        self._key = f"pause/{name}"
        self._until = 0.0
        self._changed = on_change
        self._work: set[asyncio.Task[None]] = set()
        states.on_change(self._key, self._heard)

    @property
    def until(self) -> float:
        """Wall time."""
        return self._until

    def look(self) -> None:
        """Reads in the background what others were told."""
        self._begin(self._read())

    def begin(self, seconds: float) -> None:
        """From now on here, and for the others as soon as they hear of it."""
        self._learn(self._clock.now().timestamp() + min(seconds, LONGEST_SECONDS))
        self._begin(self._tell())

    def close(self) -> None:
        for task in self._work:
            task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _heard(self, body: bytes) -> None:
        with contextlib.suppress(ValueError):
            self._learn(min(float(body or b"0"), self._clock.now().timestamp() + LONGEST_SECONDS))

    def _learn(self, until: float) -> None:
        if until > self._until:
            self._until = until
            self._changed()

    async def _read(self) -> None:
        with contextlib.suppress(UnavailableError):
            self._heard((await self._states.read(self._key))[0])

    async def _tell(self) -> None:
        """Writes the later one of both. Gives up after some tries: then the others learn it from the provider themselves."""
        for _ in range(TRIES):
            with contextlib.suppress(UnavailableError):
                stored, revision = await self._states.read(self._key)
                self._heard(stored)
                body = f"{self._until:.3f}".encode()
                if stored == body or await self._states.write(self._key, body, revision) is not None:
                    return
            await self._clock.sleep(TRY_AGAIN_SECONDS)
        structlog.get_logger("services.executor").warning("a provider's pause was not told to the other executors", key=self._key)
