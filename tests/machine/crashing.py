"""A store whose process dies, or whose race is lost, at one chosen write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from services.guardrail.ports import LostRaceError
from tests.fakes.storage import InMemoryCollection, InMemoryDatabase

T = TypeVar("T")
Break = Literal["before", "after", "race"]
"""The process dies before the write, the process dies when it is written, or another writer was faster."""


class Crash(BaseException):
    """The process is dead: nothing of ours may catch it."""


class Fuse:
    """Burns down by one a write; breaks one write, then nothing until it is set again."""

    def __init__(self) -> None:
        self._writes_left = 0
        self._how: Break = "before"

    def set(self, writes: int, how: Break) -> None:
        self._writes_left, self._how = writes, how

    def clear(self) -> None:
        self._writes_left = 0

    def is_blown(self) -> Break | None:
        if not self._writes_left:
            return None
        self._writes_left -= 1
        return None if self._writes_left else self._how


class CrashingDatabase(InMemoryDatabase):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def collection(self, name: str) -> InMemoryCollection:
        return self._collections.setdefault(name, CrashingCollection(self._fuse))


class CrashingCollection(InMemoryCollection):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        how = self._begin()
        done = await super().insert_once(document)
        return self._end(how, done)

    async def update_if(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        how = self._begin()
        done = await super().update_if(filters, update)
        return self._end(how, done)

    async def put(self, document: Mapping[str, Any]) -> None:
        how = self._begin()
        await super().put(document)
        self._end(how, True)

    async def delete(self, filters: Mapping[str, Any]) -> int:
        how = self._begin()
        done = await super().delete(filters)
        return self._end(how, done)

    async def update_each(self, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        how = self._begin()
        done = await super().update_each(changes)
        return self._end(how, done)

    def _begin(self) -> Break | None:
        how = self._fuse.is_blown()
        if how == "before":
            raise Crash
        if how == "race":
            raise LostRaceError("another writer was faster")
        return how

    @staticmethod
    def _end(how: Break | None, done: T) -> T:
        if how == "after":
            raise Crash
        return done
