"""Evolutions, candidates, evaluations and rewrites in `evoline_evolution`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.evolution.adapters.so_far import MongoSoFar
from shared.storage.collection import Database

_KEYS_A_QUERY = 500
STOPPED = "stopped"
"""In records of what somebody stopped."""
_LISTED = (
    "digest",
    "birth",
    "parent",
    "origins",
    "operator",
    "text",
    "changes",
    "accepted",
    "mean",
    "cases",
    "niche",
    "use",
    "score",
)


class MongoEvolutions:
    def __init__(self, database: Database) -> None:
        self._evolutions = database.collection("evolutions")
        self._candidates = database.collection("candidates")
        self._quarantined = database.collection("quarantined")
        self._so_far = MongoSoFar(database)

    async def prepare(self) -> None:
        await self._evolutions.ensure_index([("change_id", 1)], name="by_change")
        await self._candidates.ensure_index([("evolution_id", 1), ("birth", 1)], name="by_evolution")

    async def open(self, record: Mapping[str, Any]) -> dict[str, Any]:
        if await self._evolutions.insert_once(record):
            return dict(record)
        return await self._evolutions.get(record["_id"]) or dict(record)

    async def get(self, evolution_id: str) -> dict[str, Any] | None:
        return await self._evolutions.get(evolution_id)

    async def of_change(self, change_id: str) -> dict[str, Any] | None:
        return next(iter(await self._evolutions.find({"change_id": change_id}, limit=1)), None)

    async def update(self, evolution_id: str, fields: Mapping[str, Any]) -> None:
        await self._evolutions.update_if({"_id": evolution_id}, {"$set": dict(fields)})

    async def conclude(self, evolution_id: str, fields: Mapping[str, Any]) -> bool:
        return await self._evolutions.update_if({"_id": evolution_id, STOPPED: {"$exists": False}}, {"$set": dict(fields)})

    async def stop(self, evolution_id: str, fields: Mapping[str, Any]) -> bool:
        going_on = {"_id": evolution_id, "answer": {"$exists": False}, "proposal": {"$exists": False}}
        return await self._evolutions.update_if(going_on, {"$set": {**fields, STOPPED: True}})

    async def is_stopped(self, evolution_id: str) -> bool:
        return bool(await self._evolutions.find({"_id": evolution_id, STOPPED: True}, limit=1, fields=(STOPPED,)))

    async def quarantine(self, digests: Sequence[str]) -> None:
        await self._quarantined.insert_many([{"_id": digest} for digest in sorted(set(digests))])

    async def quarantined(self, digests: Sequence[str]) -> list[str]:
        return [row["_id"] for row in await self._quarantined.find({"_id": {"$in": list(digests)}})]

    async def keep_candidates(self, evolution_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            await self._candidates.insert_many(
                [{**row, "_id": f"{evolution_id}:{row['digest']}", "evolution_id": evolution_id} for row in rows]
            )
        await self._so_far.forget(evolution_id)

    async def keep_so_far(self, evolution_id: str, rows: Sequence[Mapping[str, Any]], left_out: int) -> None:
        await self._so_far.keep(evolution_id, rows, left_out)

    async def forget_so_far(self, evolution_id: str) -> None:
        await self._so_far.forget(evolution_id)

    async def candidates(self, evolution_id: str, limit: int) -> list[dict[str, Any]]:
        rows = await self._candidates.find({"evolution_id": evolution_id}, sort=[("birth", 1)], limit=limit, fields=_LISTED)
        if not rows:
            rows, _ = await self._so_far.of(evolution_id, limit)
        return [{key: row[key] for key in _LISTED if key in row} for row in rows]


class MongoEvaluationCache:
    def __init__(self, database: Database) -> None:
        self._evaluations = database.collection("evaluations")
        self._rewrites = database.collection("rewrites")

    async def known(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), _KEYS_A_QUERY):
            rows = await self._evaluations.find({"_id": {"$in": list(keys[start : start + _KEYS_A_QUERY])}})
            found.update((row["_id"], row) for row in rows)
        return found

    async def keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            await self._evaluations.insert_many(rows)

    async def forget(self, digests: Sequence[str]) -> None:
        for digest in sorted(set(digests)):
            await self._evaluations.delete({"digest": digest})

    async def rewrite(self, key: str) -> dict[str, Any] | None:
        return await self._rewrites.get(key)

    async def keep_rewrite(self, key: str, text: str | None) -> None:
        await self._rewrites.insert_once({"_id": key, "text": text})
