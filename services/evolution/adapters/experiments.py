"""Experiments in `evoline_evolution`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.evolution.adapters.mongo import STOPPED
from shared.storage.collection import Database


class MongoExperiments:
    def __init__(self, database: Database) -> None:
        self._experiments = database.collection("experiments")

    async def prepare(self) -> None:
        await self._experiments.ensure_index([("change_id", 1)], name="by_change")
        await self._experiments.ensure_index([("created_at", -1)], name="by_time")

    async def open(self, record: Mapping[str, Any]) -> dict[str, Any]:
        if await self._experiments.insert_once(record):
            return dict(record)
        return await self._experiments.get(record["_id"]) or dict(record)

    async def get(self, experiment_id: str) -> dict[str, Any] | None:
        return await self._experiments.get(experiment_id)

    async def of_change(self, change_id: str) -> dict[str, Any] | None:
        return next(iter(await self._experiments.find({"change_id": change_id}, limit=1)), None)

    async def update(self, experiment_id: str, fields: Mapping[str, Any]) -> None:
        await self._experiments.update_if({"_id": experiment_id}, {"$set": dict(fields)})

    async def conclude(self, experiment_id: str, fields: Mapping[str, Any]) -> bool:
        return await self._experiments.update_if({"_id": experiment_id, STOPPED: {"$exists": False}}, {"$set": dict(fields)})

    async def stop(self, experiment_id: str, fields: Mapping[str, Any]) -> bool:
        going_on = {"_id": experiment_id, "answer": None, "proposal": {"$exists": False}}
        return await self._experiments.update_if(going_on, {"$set": {**fields, STOPPED: True}})

    async def is_stopped(self, experiment_id: str) -> bool:
        return bool(await self._experiments.find({"_id": experiment_id, STOPPED: True}, limit=1, fields=(STOPPED,)))

    async def latest(self, pipeline: str | None, limit: int) -> list[dict[str, Any]]:
        wanted = {"pipeline": pipeline} if pipeline is not None else {}
        return await self._experiments.find(wanted, sort=[("created_at", -1), ("_id", 1)], limit=limit)
