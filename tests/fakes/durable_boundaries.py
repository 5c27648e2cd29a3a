"""Every write and publish of an executor as a numbered boundary: to count them, and to die before or after any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from shared.events.message import Fact
from shared.storage import Collection, Database
from shared.storage.collection import Sort
from tests.fakes.executor import RecordingAnnouncer

T = TypeVar("T")
Moment = Literal["before", "after"]


@dataclass
class Boundaries:
    """Names of the boundaries passed, in order. At number `dies_at` the process hangs for ever, as a killed one does."""

    dies_at: int | None = None
    moment: Moment = "before"
    passed: list[str] = field(default_factory=list)
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def cross(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        if self.dead.is_set():
            await asyncio.Event().wait()
        here = len(self.passed) == self.dies_at
        self.passed.append(name)
        if here and self.moment == "before":
            await self._die()
        result = await act()
        if here:
            await self._die()
        return result

    async def _die(self) -> None:
        self.dead.set()
        await asyncio.Event().wait()


class WatchedCollection:
    """A collection whose writes are boundaries; reads pass."""

    def __init__(self, name: str, inner: Collection, boundaries: Boundaries) -> None:
        self._name = name
        self._inner = inner
        self._boundaries = boundaries

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        return await self._boundaries.cross(f"{self._name}.insert", lambda: self._inner.insert_once(document))

    async def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        return await self._boundaries.cross(f"{self._name}.insert", lambda: self._inner.insert_many(documents))

    async def update_if(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        return await self._boundaries.cross(f"{self._name}.update", lambda: self._inner.update_if(filters, update))

    async def update_each(self, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        return await self._boundaries.cross(f"{self._name}.update", lambda: self._inner.update_each(changes))

    async def put(self, document: Mapping[str, Any]) -> None:
        await self._boundaries.cross(f"{self._name}.put", lambda: self._inner.put(document))

    async def delete(self, filters: Mapping[str, Any]) -> int:
        return await self._boundaries.cross(f"{self._name}.delete", lambda: self._inner.delete(filters))

    async def get(self, document_id: str) -> dict[str, Any] | None:
        return await self._inner.get(document_id)

    async def find(
        self, filters: Mapping[str, Any], *, sort: Sort = (), limit: int = 0, fields: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        return await self._inner.find(filters, sort=sort, limit=limit, fields=fields)

    async def count(self, filters: Mapping[str, Any]) -> int:
        return await self._inner.count(filters)

    async def ensure_index(self, keys: Sort, *, unique: bool = False, name: str) -> None:
        await self._inner.ensure_index(keys, unique=unique, name=name)


class WatchedDatabase:
    def __init__(self, inner: Database, boundaries: Boundaries) -> None:
        self._inner = inner
        self._boundaries = boundaries

    def collection(self, name: str) -> WatchedCollection:
        return WatchedCollection(name, self._inner.collection(name), self._boundaries)


@dataclass
class WatchedAnnouncer(RecordingAnnouncer):
    boundaries: Boundaries = field(default_factory=Boundaries)

    async def announce(self, fact: Fact, *, cause: str, effect: str) -> None:
        say = super().announce
        await self.boundaries.cross(f"publish.{effect}", lambda: say(fact, cause=cause, effect=effect))
