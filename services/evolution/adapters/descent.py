"""Lineage read from `evoline_evolution`."""

from __future__ import annotations

from typing import Any

from services.evolution.adapters.so_far import MongoSoFar
from shared.storage.collection import Database

_TOLD = ("evolution_id", "digest", "birth", "parent", "origins", "operator", "text", "accepted", "score")


class MongoDescent:
    def __init__(self, database: Database) -> None:
        self._evolutions = database.collection("evolutions")
        self._candidates = database.collection("candidates")
        self._so_far = MongoSoFar(database)

    async def prepare(self) -> None:
        await self._evolutions.ensure_index([("pipeline", 1), ("created_at", -1)], name="by_pipeline")
        await self._evolutions.ensure_index([("created_at", -1)], name="by_time")
        await self._candidates.ensure_index([("digest", 1)], name="by_digest")

    async def evolutions(self, pipeline: str | None, evolution_id: str | None, limit: int) -> list[dict[str, Any]]:
        wanted = {"pipeline": pipeline, "_id": evolution_id}
        filled = {key: value for key, value in wanted.items() if value is not None}
        return await self._evolutions.find(filled, sort=[("created_at", -1)], limit=limit)

    async def of_evolution(self, evolution_id: str, limit: int) -> tuple[list[dict[str, Any]], int]:
        accepted = await self._rows({"evolution_id": evolution_id, "accepted": True}, limit)
        others = await self._rows({"evolution_id": evolution_id, "accepted": False}, limit - len(accepted))
        count = await self._candidates.count({"evolution_id": evolution_id})
        if not count:
            return await self._so_far.of(evolution_id, limit)
        rows = sorted([*accepted, *others], key=lambda row: int(row["birth"]))
        return rows, count - len(rows)

    async def candidates_like(self, digest: str, limit: int) -> list[dict[str, Any]]:
        ended = await self._candidates.find({"digest": {"$gte": digest, "$lt": digest + "g"}}, limit=limit)
        return [*ended, *await self._so_far.like(digest, limit)][:limit]

    async def _rows(self, wanted: dict[str, Any], limit: int) -> list[dict[str, Any]]:
        if limit < 1:
            return []
        rows = await self._candidates.find(wanted, sort=[("birth", 1)], limit=limit, fields=_TOLD)
        return [{key: row[key] for key in _TOLD if key in row} for row in rows]
