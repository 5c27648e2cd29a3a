"""Group commit: inserts that wait at the same time become one write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from shared.storage import Collection

MAX_BATCH = 256


class GroupCommit:
    """`insert_once` for many writers at once. A lone writer pays nothing: a flush starts when none is under way, never by a timer.

    While one batch is being written the next one gathers."""

    def __init__(self, collection: Collection, *, max_batch: int = MAX_BATCH) -> None:
        self._collection = collection
        self._max_batch = max_batch
        self._waiting: list[tuple[Mapping[str, Any], asyncio.Future[bool]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        """False if the `_id` exists. Raises what the store raises; then the document may be written or not."""
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((document, written))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await written

    async def _flush(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                refused = await self._collection.insert_many([document for document, _ in batch])
            except BaseException as error:
                _fail(batch, error)
                if not isinstance(error, Exception):
                    raise
            else:
                _answer(batch, refused)

    def _next_batch(self) -> list[tuple[Mapping[str, Any], asyncio.Future[bool]]]:
        """One document an id: of two with the same, the second must see the first as written."""
        batch: dict[str, tuple[Mapping[str, Any], asyncio.Future[bool]]] = {}
        later = []
        for each in self._waiting:
            if len(batch) < self._max_batch and each[0]["_id"] not in batch:
                batch[each[0]["_id"]] = each
            else:
                later.append(each)
        self._waiting = later
        return list(batch.values())


def _fail(batch: list[tuple[Mapping[str, Any], asyncio.Future[bool]]], error: BaseException) -> None:
    for _, written in batch:
        if written.done():
            continue
        if isinstance(error, Exception):
            written.set_exception(error)
        else:
            written.cancel()


def _answer(batch: list[tuple[Mapping[str, Any], asyncio.Future[bool]]], refused: frozenset[str]) -> None:
    for document, written in batch:
        if not written.done():
            written.set_result(document["_id"] not in refused)
