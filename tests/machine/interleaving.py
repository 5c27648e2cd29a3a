"""A store in which somebody else does something whole between two operations of whoever is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from shared.storage.collection import Sort
from tests.fakes.storage import Document, InMemoryCollection, InMemoryDatabase


class InterleavedDatabase(InMemoryDatabase):
    """`between(n, work)`: `work` is done right before the n-th operation from now, once."""

    def __init__(self) -> None:
        super().__init__()
        self._left = 0
        self._work: Callable[[], Awaitable[Any]] | None = None

    def between(self, operation: int, work: Callable[[], Awaitable[Any]]) -> None:
        self._left, self._work = operation, work

    @property
    def is_done(self) -> bool:
        return self._work is None

    async def passing(self) -> None:
        if self._work is None:
            return
        self._left -= 1
        if not self._left:
            work, self._work = self._work, None
            await work()

    def collection(self, name: str) -> InMemoryCollection:
        return self._collections.setdefault(name, _Interleaved(self))


class _Interleaved(InMemoryCollection):
    def __init__(self, database: InterleavedDatabase) -> None:
        super().__init__()
        self._database = database

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        await self._database.passing()
        return await super().insert_once(document)

    async def get(self, document_id: str) -> Document | None:
        await self._database.passing()
        return await super().get(document_id)

    async def find(
        self, filters: Mapping[str, Any], *, sort: Sort = (), limit: int = 0, fields: Sequence[str] = ()
    ) -> list[Document]:
        await self._database.passing()
        return await super().find(filters, sort=sort, limit=limit, fields=fields)

    async def update_if(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        await self._database.passing()
        return await super().update_if(filters, update)

    async def delete(self, filters: Mapping[str, Any]) -> int:
        await self._database.passing()
        return await super().delete(filters)
