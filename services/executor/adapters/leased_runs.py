"""Runs by the lease that they were admitted under: asked for only where the executor that held the lease was lost."""

from __future__ import annotations

from services.executor.domain.quotas import plus, used_by
from shared.events.quotas import Spent
from shared.events.runs import RunFinished
from shared.storage import Database


class MongoLeasedRuns:
    """Without an index, which every run would pay for."""

    def __init__(self, database: Database) -> None:
        self._runs = database.collection("runs")

    async def under_lease(self, lease_id: str) -> tuple[Spent, int]:
        used, running = Spent(), 0
        for found in await self._runs.find({"quota.lease_id": lease_id}, fields=["finished"]):
            if "finished" in found:
                used = plus(used, used_by(RunFinished.model_validate_json(found["finished"])))
            else:
                running += 1
        return used, running
