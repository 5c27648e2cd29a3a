"""Group read: reads by id that wait at the same time become one query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.storage.collection import Collection
from shared.storage.group import Group


class GroupRead:
    """`get` for many readers at once. Every answer is read after it was asked for: nothing is remembered."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._reads: Group[str, dict[str, Any] | None] = Group(self._found)

    async def get(self, document_id: str) -> dict[str, Any] | None:
        """Readers of one id share the document: they must not change it."""
        return await self._reads.join(document_id)

    async def _found(self, asked: Sequence[str]) -> Sequence[dict[str, Any] | None]:
        ids = sorted(set(asked))
        if len(ids) == 1:
            found = {ids[0]: await self._collection.get(ids[0])}
        else:
            found = {each["_id"]: each for each in await self._collection.find({"_id": {"$in": ids}})}
        return [found.get(document_id) for document_id in asked]
