"""Knowledge in `evoline_learner`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.learner.adapters.ageing import NOTED, Ageing, moment
from services.learner.domain.mining import ScoredRevision
from shared.events.improvement import Pattern
from shared.events.values import Score
from shared.storage.collection import Database


class MongoKnowledgeStore:
    def __init__(self, database: Database) -> None:
        self._revisions = database.collection("revisions")
        self._runs = database.collection("runs")
        self._patterns = database.collection("patterns")
        self._templates = database.collection("templates")
        self._quarantined = database.collection("quarantined")
        self._ageing = Ageing({"runs": self._runs}, database.collection("ages"))

    async def prepare(self) -> None:
        await self._ageing.prepare()

    async def add_revision(self, revision: ScoredRevision) -> bool:
        record = {
            "_id": f"{revision.group}|{revision.digest}",
            "digest": revision.digest,
            "pipeline": revision.pipeline,
            "domain": revision.domain,
            "group": revision.group,
            "document": dict(revision.document),
            "score": revision.score.model_dump(mode="json"),
            "cases": revision.score.cases,
            "parameters": dict(revision.parameters),
            "quarantined": await self._is_quarantined(revision.digest),
        }
        if await self._revisions.insert_once(record):
            # A quarantine that was written in between finds the record here, or is found.
            if not record["quarantined"] and await self._is_quarantined(revision.digest):
                await self._revisions.update_if({"_id": record["_id"]}, {"$set": {"quarantined": True}})
            return True
        changed = {"score": record["score"], "cases": record["cases"]}
        return await self._revisions.update_if({"_id": record["_id"], "cases": {"$lt": revision.score.cases}}, {"$set": changed})

    async def revisions(self, domain: str | None) -> Sequence[ScoredRevision]:
        wanted: dict[str, Any] = {"quarantined": False}
        if domain is not None:
            wanted["domain"] = domain
        return [
            ScoredRevision(
                digest=record["digest"],
                pipeline=record["pipeline"],
                domain=record["domain"],
                group=record["group"],
                document=record["document"],
                score=Score.model_validate(record["score"]),
                parameters=record["parameters"],
            )
            for record in await self._revisions.find(wanted, sort=(("_id", 1),))
        ]

    async def count_run(self, run_id: str, digest: str, succeeded: bool, at: datetime) -> None:
        await self._runs.insert_once({"_id": run_id, "digest": digest, "succeeded": succeeded, NOTED: moment(at)})

    async def forget_runs(self, now: datetime, after: timedelta) -> int:
        return await self._ageing.forget("runs", now, after)

    async def runs(self) -> int:
        return await self._runs.count({})

    async def quarantine(self, digests: Sequence[str]) -> None:
        await self._quarantined.insert_many([{"_id": digest} for digest in sorted(set(digests))])
        for record in await self._revisions.find({"digest": {"$in": list(digests)}}):
            await self._revisions.update_if({"_id": record["_id"]}, {"$set": {"quarantined": True}})
        doomed = {"$in": list(digests)}
        for record in await self._templates.find({"$or": [{"source_digest": doomed}, {"digest": doomed}]}):
            await self._templates.update_if({"_id": record["_id"]}, {"$set": {"status": "quarantined"}})

    async def _is_quarantined(self, digest: str) -> bool:
        return await self._quarantined.get(digest) is not None

    async def replace_patterns(self, learning_id: str, patterns: Sequence[Pattern], at: str) -> None:
        await self.save_patterns(learning_id, patterns, at)
        kept = {pattern.pattern_id for pattern in patterns}
        for record in await self._patterns.find({}, fields=("learning_id",)):
            if record["_id"] not in kept:
                await self._patterns.delete({"_id": record["_id"]})

    async def save_patterns(self, learning_id: str, patterns: Sequence[Pattern], at: str) -> None:
        for pattern in patterns:
            await self._patterns.put(
                {"_id": pattern.pattern_id, "pattern": pattern.model_dump(mode="json"), "learning_id": learning_id, "at": at}
            )

    async def patterns(self, limit: int) -> Sequence[Pattern]:
        found = [Pattern.model_validate(record["pattern"]) for record in await self._patterns.find({})]
        return sorted(found, key=lambda pattern: (-abs(pattern.lift), pattern.pattern_id))[:limit]

    async def propose_template(self, change_id: str, record: Mapping[str, Any]) -> bool:
        doomed = await self._is_quarantined(str(record.get("source_digest", "")))
        return await self._templates.insert_once({"_id": change_id, **record, **({"status": "quarantined"} if doomed else {})})

    async def template(self, change_id: str) -> dict[str, Any] | None:
        return await self._templates.get(change_id)

    async def approve_template(self, change_id: str, digest: str) -> bool:
        if await self._is_quarantined(digest):
            await self._templates.update_if({"_id": change_id}, {"$set": {"status": "quarantined", "digest": digest}})
            return False
        wanted = {"_id": change_id, "status": {"$ne": "quarantined"}}
        return await self._templates.update_if(wanted, {"$set": {"status": "approved", "digest": digest}})

    async def templates(self, limit: int) -> Sequence[dict[str, Any]]:
        return await self._templates.find({"status": {"$ne": "quarantined"}}, sort=(("_id", 1),), limit=limit)
