"""Group commit: writes that wait at the same time become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.storage.collection import Collection
from shared.storage.group import MAX_BATCH, Group

Update = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Filter, which names one `_id`, and update."""


class GroupCommit:
    """Writes to one collection, for many writers at once."""

    def __init__(self, collection: Collection, *, max_batch: int = MAX_BATCH) -> None:
        self._collection = collection
        # Of two writes with one id in a batch, the second would not see the first as written.
        self._inserts: Group[Mapping[str, Any], bool] = Group(
            self._insert, key=lambda document: document["_id"], max_batch=max_batch
        )
        self._updates: Group[Update, bool] = Group(self._update, key=lambda update: update[0]["_id"], max_batch=max_batch)

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        """False if the `_id` exists. Raises what the store raises; then the document may be written or not."""
        return await self._inserts.join(document)

    async def surely_updated(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        """False: the store knows that of those who wrote together somebody's filter did not match, but not whose; read it back."""
        return await self._updates.join((filters, update))

    async def _insert(self, documents: Sequence[Mapping[str, Any]]) -> Sequence[bool]:
        refused = await self._collection.insert_many(documents)
        return [document["_id"] not in refused for document in documents]

    async def _update(self, updates: Sequence[Update]) -> Sequence[bool]:
        matched = await self._collection.update_each(updates)
        return [matched == len(updates)] * len(updates)
