"""Group read: reads by id that wait at the same time become one query."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.storage import Collection

Waiting = tuple[str, asyncio.Future[dict[str, Any] | None]]


class GroupRead:
    """`get` for many readers at once. Every answer is read after it was asked for: nothing is remembered."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._waiting: list[Waiting] = []
        self._reading: asyncio.Task[None] | None = None

    async def get(self, document_id: str) -> dict[str, Any] | None:
        """Readers of one id share the document: they must not change it."""
        found: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((document_id, found))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return await found

    async def _read(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                documents = await self._found(sorted({document_id for document_id, _ in batch}))
            except Exception as error:
                for _, found in batch:
                    if not found.done():
                        found.set_exception(error)
                continue
            for document_id, found in batch:
                if not found.done():
                    found.set_result(documents.get(document_id))

    async def _found(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        if len(ids) == 1:
            one = await self._collection.get(ids[0])
            return {ids[0]: one} if one else {}
        return {document["_id"]: document for document in await self._collection.find({"_id": {"$in": ids}})}
