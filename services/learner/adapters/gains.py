"""Claims and outcomes in `evoline_learner`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.learner.adapters.ageing import NOTED, Ageing, moment
from shared.storage.collection import Database

_MOST_OUTCOMES = 20_000
"""Of one revision. Each has its own share: one that served for a year must not crowd out the one that has just begun."""


class MongoGains:
    def __init__(self, database: Database) -> None:
        self._claims = database.collection("claims")
        self._served = database.collection("served_runs")
        self._reports = database.collection("reports")
        self._outcomes = database.collection("outcomes")
        kept = {"served_runs": self._served, "reports": self._reports, "outcomes": self._outcomes}
        self._ageing = Ageing(kept, database.collection("ages"))

    async def prepare(self) -> None:
        await self._ageing.prepare()
        await self._claims.ensure_index([("pipeline", 1), ("digest", 1)], name="by_revision")
        await self._claims.ensure_index([("looked", 1), ("looked_at", -1)], name="by_look")
        await self._served.ensure_index([("pipeline", 1), ("digest", 1)], name="by_revision")
        await self._outcomes.ensure_index([("pipeline", 1), ("digest", 1), (NOTED, -1), ("_id", -1)], name="newest_of_revision")

    async def note(self, change_id: str, fields: Mapping[str, Any]) -> None:
        await self._claims.insert_once({"_id": change_id})
        await self._claims.update_if({"_id": change_id}, {"$set": dict(fields)})

    async def claim(self, change_id: str) -> dict[str, Any] | None:
        return await self._claims.get(change_id)

    async def claims_of(self, pipeline: str, digest: str) -> list[dict[str, Any]]:
        found = await self._claims.find({"pipeline": pipeline, "digest": digest, "approved": True}, sort=[("_id", 1)])
        return [claim for claim in found if "gain" in claim]

    async def latest(self, pipeline: str | None, limit: int) -> list[dict[str, Any]]:
        wanted: dict[str, Any] = {"looked": True}
        if pipeline is not None:
            wanted["pipeline"] = pipeline
        return await self._claims.find(wanted, sort=[("looked_at", -1), ("_id", 1)], limit=limit)

    async def add_run(self, run_id: str, run: Mapping[str, Any], at: datetime) -> None:
        await self._served.insert_once({"_id": run_id, **run, NOTED: moment(at)})

    async def add_report(self, run_id: str, score: float, at: datetime) -> None:
        await self._reports.insert_once({"_id": run_id, "score": score, NOTED: moment(at)})

    async def join(self, run_id: str) -> dict[str, Any] | None:
        run, report = await self._served.get(run_id), await self._reports.get(run_id)
        if run is None or report is None:
            return None
        # A report from before moments were noted has none: then the run's counts.
        moments = [each[NOTED] for each in (run, report) if NOTED in each]
        outcome = {**run, "score": 0.0 if run["failed"] else report["score"], **({NOTED: max(moments)} if moments else {})}
        await self._outcomes.insert_once(outcome)
        return outcome

    async def count(self, pipeline: str, digest: str) -> int:
        return await self._outcomes.count({"pipeline": pipeline, "digest": digest})

    async def served(self, pipeline: str, digest: str, arm: str) -> int:
        return await self._served.count({"pipeline": pipeline, "digest": digest, **({"arm": arm} if arm else {})})

    async def outcomes(self, pipeline: str, digests: Sequence[str]) -> list[dict[str, Any]]:
        found = []
        for digest in digests:
            of_one, newest = {"pipeline": pipeline, "digest": digest}, [(NOTED, -1), ("_id", -1)]
            found += await self._outcomes.find(of_one, sort=newest, limit=_MOST_OUTCOMES)
        return found

    async def forget(self, now: datetime, *, reports_after: timedelta, runs_after: timedelta) -> int:
        ages = {"served_runs": runs_after, "reports": reports_after, "outcomes": runs_after}
        return sum([await self._ageing.forget(name, now, after) for name, after in ages.items()])
