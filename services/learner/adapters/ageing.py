"""What the learner keeps grows old by the moment at which it was noted, and is removed in bounded rounds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.storage.collection import Collection

NOTED = "noted_at"
_MOST_AT_ONCE = 1000
_MOST_PARTS = 20
"""Of so many documents, in one round; the next one goes on."""
_UNDATED: Mapping[str, Any] = {NOTED: None}
"""Has an index, which "does not exist" has not."""


class Ageing:
    """`ages` remembers since when a collection is known to hold documents from before moments were noted: they are that old. To
    write a moment into each took hours where there were many."""

    def __init__(self, collections: Mapping[str, Collection], ages: Collection) -> None:
        self._collections = collections
        self._ages = ages

    async def prepare(self) -> None:
        for collection in self._collections.values():
            await collection.ensure_index([(NOTED, 1)], name="by_age")

    async def forget(self, name: str, now: datetime, after: timedelta) -> int:
        """How many were removed; the oldest first."""
        forgotten, before = 0, moment(now - after)
        for _ in range(_MOST_PARTS):
            removed = await self._dated(self._collections[name], before) or await self._undated(name, now, before)
            if not removed:
                break
            forgotten += removed
        return forgotten

    async def _dated(self, collection: Collection, before: str) -> int:
        old = await collection.find({NOTED: {"$lt": before}}, sort=[(NOTED, 1)], limit=_MOST_AT_ONCE, fields=(NOTED,))
        return await collection.delete({NOTED: {"$lte": old[-1][NOTED]}}) if old else 0

    async def _undated(self, name: str, now: datetime, before: str) -> int:
        collection = self._collections[name]
        found = await collection.find(_UNDATED, limit=_MOST_AT_ONCE, fields=("_id",))
        if not found:
            return 0
        await self._ages.insert_once({"_id": name, "undated_since": moment(now)})
        since = await self._ages.get(name)
        if since is None or since["undated_since"] >= before:
            return 0
        return await collection.delete({"_id": {"$in": [each["_id"] for each in found]}})


def moment(at: datetime) -> str:
    """Sorts as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
