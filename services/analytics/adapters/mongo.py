"""Aggregates in `evoline_analytics`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.events.values import Score
from shared.storage.collection import Collection, Database

REMEMBERED_RUNS = 256
"""Run ids an aggregate remembers: a redelivered fact comes within seconds, so this many suffice to count it once."""


class MongoAggregateStore:
    def __init__(self, database: Database) -> None:
        self._aggregates = database.collection("aggregates")
        self._models = database.collection("models")
        self._qualities = database.collection("qualities")

    async def add(self, aggregate_id: str, labels: Mapping[str, str], run_id: str, amounts: Mapping[str, float]) -> bool:
        return await _add_once(self._aggregates, aggregate_id, labels, run_id, amounts)

    async def add_model(self, record_id: str, labels: Mapping[str, str], run_id: str, amounts: Mapping[str, float]) -> bool:
        return await _add_once(self._models, record_id, labels, run_id, amounts)

    async def models(self, *, domain: str, family: str | None, limit: int) -> list[dict[str, Any]]:
        wanted = {"domain": domain, **({"family": family} if family is not None else {}), "calls": {"$gt": 0}}
        return await self._models.find(wanted, sort=(("calls", -1), ("_id", 1)), limit=limit)

    async def get(self, aggregate_id: str) -> dict[str, Any] | None:
        return await self._aggregates.get(aggregate_id)

    async def select(self, *, pipeline: str | None, purpose: str | None, limit: int) -> list[dict[str, Any]]:
        wanted = {name: value for name, value in (("pipeline", pipeline), ("purpose", purpose)) if value is not None}
        return await self._aggregates.find(wanted, sort=(("updated_at", -1),), limit=limit)

    async def set_quality(self, digest: str, score: Score, source: str) -> None:
        rank = score.cases + (1_000_000 if source == "sealed" else 0)
        record = {"_id": digest, "rank": rank, "score": score.model_dump(mode="json"), "source": source}
        if await self._qualities.insert_once(record):
            return
        changed = {key: value for key, value in record.items() if key != "_id"}
        await self._qualities.update_if({"_id": digest, "rank": {"$lte": rank}}, {"$set": changed})

    async def quality(self, digest: str) -> Score | None:
        record = await self._qualities.get(digest)
        return Score.model_validate(record["score"]) if record else None


async def _add_once(
    collection: Collection, document_id: str, labels: Mapping[str, str], run_id: str, amounts: Mapping[str, float]
) -> bool:
    update = {
        "$inc": dict(amounts),
        "$push": {"recent": {"$each": [run_id], "$slice": -REMEMBERED_RUNS}},
        "$set": {"updated_at": datetime.now(UTC).isoformat()},
    }
    unseen = {"_id": document_id, "recent": {"$ne": run_id}}
    if await collection.update_if(unseen, update):
        return True
    if await collection.insert_once({"_id": document_id, **labels, "recent": []}):
        return await collection.update_if(unseen, update)
    # It exists by now: counted before, or made by another instance between the two calls above.
    return await collection.update_if(unseen, update)
