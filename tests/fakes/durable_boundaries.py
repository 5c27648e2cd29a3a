"""Every durable effect of an executor as a named boundary: to count them, and to break one of them in every way there is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from services.executor.ports import SharedStates
from shared.errors import UnavailableError
from shared.events.message import Fact
from shared.large_values import Blobs, ValueReference
from shared.storage import Collection, Database
from shared.storage.collection import Sort
from tests.fakes.executor import RecordingAnnouncer

T = TypeVar("T")
Fault = Literal["stops before", "stops after", "refused", "timed out", "noted"]
"""Where the process stops for good or for a while; the effect did not happen and an error says so; it happened and an error says
that it did not; or nothing is wrong and the crossing is only told."""


@dataclass(frozen=True)
class Place:
    """The `number`-th crossing of the boundary `name`, from 0."""

    name: str
    number: int


@dataclass
class Boundaries:
    """What one process crosses, in order. A process that stops hangs in whatever it does next, reads included."""

    place: Place | None = None
    fault: Fault = "noted"
    trouble: frozenset[Place] = frozenset()
    """What is refused besides."""
    passed: list[str] = field(default_factory=list)
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False
    gone: bool = False
    late: bool = False
    """It was stalled, and has woken."""
    _awake: asyncio.Event = field(default_factory=asyncio.Event)

    async def cross(self, name: str, act: Callable[[], Awaitable[T]], error: Exception | None = None) -> T:
        await self.alive()
        place = Place(name, self.passed.count(name))
        self.passed.append(name)
        error = error or UnavailableError(f"{name}: connection lost")
        if place == self.place:
            return await self._broken(self.fault, act, error)
        if place in self.trouble:
            raise error
        return await act()

    async def alive(self) -> None:
        """Hangs while the process is stopped."""
        while self.stopped and not self.gone:
            await self._awake.wait()
        if self.gone:
            raise asyncio.CancelledError

    def wake(self) -> None:
        """A stalled process goes on."""
        self.stopped = False
        self.late = True
        self._awake.set()

    def dispose(self) -> None:
        """What still hangs is cancelled at its next step, without any further effect."""
        self.gone = True
        self._awake.set()

    async def _broken(self, fault: Fault, act: Callable[[], Awaitable[T]], error: Exception) -> T:
        if fault == "stops before":
            await self._stop()
            return await act()
        if fault == "refused":
            self.struck.set()
            raise error
        result = await act()
        if fault == "stops after":
            await self._stop()
        self.struck.set()
        if fault == "timed out":
            raise error
        return result

    async def _stop(self) -> None:
        self.stopped = True
        self.struck.set()
        await self.alive()


class WatchedCollection:
    """A collection whose writes are boundaries."""

    def __init__(self, name: str, inner: Collection, boundaries: Boundaries) -> None:
        self._name = name
        self._inner = inner
        self._boundaries = boundaries

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        return await self._boundaries.cross(f"{self._name}.insert", lambda: self._inner.insert_once(document))

    async def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        return await self._boundaries.cross(f"{self._name}.insert", lambda: self._inner.insert_many(documents))

    async def insert_in_order(self, documents: Sequence[Mapping[str, Any]]) -> int:
        return await self._boundaries.cross(f"{self._name}.insert", lambda: self._inner.insert_in_order(documents))

    async def update_if(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        return await self._boundaries.cross(f"{self._name}.update", lambda: self._inner.update_if(filters, update))

    async def update_each(self, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        return await self._boundaries.cross(f"{self._name}.update", lambda: self._inner.update_each(changes))

    async def put(self, document: Mapping[str, Any]) -> None:
        await self._boundaries.cross(f"{self._name}.put", lambda: self._inner.put(document))

    async def delete(self, filters: Mapping[str, Any]) -> int:
        return await self._boundaries.cross(f"{self._name}.delete", lambda: self._inner.delete(filters))

    async def get(self, document_id: str) -> dict[str, Any] | None:
        await self._boundaries.alive()
        return await self._inner.get(document_id)

    async def find(
        self, filters: Mapping[str, Any], *, sort: Sort = (), limit: int = 0, fields: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        await self._boundaries.alive()
        return await self._inner.find(filters, sort=sort, limit=limit, fields=fields)

    async def count(self, filters: Mapping[str, Any]) -> int:
        await self._boundaries.alive()
        return await self._inner.count(filters)

    async def ensure_index(self, keys: Sort, *, unique: bool = False, name: str) -> None:
        await self._inner.ensure_index(keys, unique=unique, name=name)


class WatchedDatabase:
    def __init__(self, inner: Database, boundaries: Boundaries) -> None:
        self._inner = inner
        self._boundaries = boundaries

    def collection(self, name: str) -> WatchedCollection:
        return WatchedCollection(name, self._inner.collection(name), self._boundaries)


class WatchedBlobs:
    def __init__(self, inner: Blobs, boundaries: Boundaries) -> None:
        self._inner = inner
        self._boundaries = boundaries

    async def store(self, body: bytes) -> ValueReference:
        return await self._boundaries.cross("blobs.store", lambda: self._inner.store(body))

    async def load(self, reference: ValueReference) -> bytes:
        await self._boundaries.alive()
        return await self._inner.load(reference)


class WatchedStates:
    def __init__(self, inner: SharedStates, boundaries: Boundaries) -> None:
        self._inner = inner
        self._boundaries = boundaries

    async def read(self, key: str) -> tuple[bytes, int]:
        await self._boundaries.alive()
        return await self._inner.read(key)

    async def write(self, key: str, body: bytes, revision: int) -> int | None:
        return await self._boundaries.cross("states.write", lambda: self._inner.write(key, body, revision))

    def on_change(self, key: str, call: Callable[[bytes], None]) -> None:
        self._inner.on_change(key, call)


@dataclass
class WatchedAnnouncer(RecordingAnnouncer):
    boundaries: Boundaries = field(default_factory=Boundaries)

    async def announce(self, fact: Fact, *, cause: str, effect: str) -> None:
        say = super().announce
        await self.boundaries.cross(f"publish.{effect}", lambda: say(fact, cause=cause, effect=effect))
