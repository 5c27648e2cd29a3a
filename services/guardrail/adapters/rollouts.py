"""Rollouts and the outcomes that they count as documents of the store."""

from __future__ import annotations

from collections.abc import Sequence

from services.guardrail.domain.rollout import Phase, RolloutRecord
from services.guardrail.domain.rollout_evidence import Observation
from services.guardrail.ports import LostRaceError
from shared.errors import UnavailableError
from shared.storage.collection import Database

REMOVED_TOGETHER = 200


class MongoRollouts:
    """`rollout_outcomes` holds one document an outcome: inserted once by its id, `counted` after the rollout's record has it.
    `rollout_units` holds which outcome of a unit is its first."""

    def __init__(self, database: Database) -> None:
        self._rollouts = database.collection("rollouts")
        self._outcomes = database.collection("rollout_outcomes")
        self._units = database.collection("rollout_units")
        self._reports = database.collection("outcome_reports")
        self._marked: tuple[str, ...] = ()

    async def ensure_indexes(self) -> None:
        await self._rollouts.ensure_index([("closed", 1)], name="closed")
        await self._rollouts.ensure_index([("pipeline", 1)], name="pipeline")
        await self._outcomes.ensure_index([("rollout_id", 1), ("counted", 1)], name="uncounted")
        await self._outcomes.ensure_index([("run_id", 1)], name="run_id")

    async def open(self, record: RolloutRecord) -> RolloutRecord:
        if await self._rollouts.insert_once({"_id": record.rollout_id, **record.model_dump(mode="json")}):
            return record
        stored = await self.get(record.rollout_id)
        if stored is None:
            raise UnavailableError(f"rollout {record.rollout_id} cannot be read back")
        return stored

    async def get(self, rollout_id: str) -> RolloutRecord | None:
        found = await self._rollouts.get(rollout_id)
        return RolloutRecord.model_validate(found) if found else None

    async def save(self, record: RolloutRecord) -> RolloutRecord:
        after = record.model_copy(update={"version": record.version + 1})
        fields = after.model_dump(mode="json")
        if not await self._rollouts.update_if({"_id": record.rollout_id, "version": record.version}, {"$set": fields}):
            raise LostRaceError(f"rollout {record.rollout_id} was written by another process at this moment")
        return after

    async def latest(self, pipeline: str | None, *, unclosed_only: bool, limit: int) -> Sequence[RolloutRecord]:
        filters = {**({"pipeline": pipeline} if pipeline else {}), **({"closed": False} if unclosed_only else {})}
        found = await self._rollouts.find(filters, sort=[("created_at", -1)], limit=limit)
        return [RolloutRecord.model_validate(each) for each in found]

    async def uncleared(self, ended_before: str, limit: int) -> Sequence[RolloutRecord]:
        filters = {"closed": True, "cleared": {"$ne": True}, "ended_at": {"$gt": "", "$lt": ended_before}}
        found = await self._rollouts.find(filters, limit=limit)
        return [RolloutRecord.model_validate(each) for each in found]

    async def clear(self, rollout_id: str) -> None:
        # The character behind the slash: every unit of this rollout, and of no other.
        of_units = {"_id": {"$gte": f"{rollout_id}/", "$lt": f"{rollout_id}0"}}
        for collection, filters in ((self._units, of_units), (self._outcomes, {"rollout_id": rollout_id})):
            # A part at a time: what else asks the store is answered in between.
            while found := await collection.find(filters, limit=REMOVED_TOGETHER, fields=("rollout_id",)):
                await collection.delete({"_id": {"$in": [each["_id"] for each in found]}})

    async def note(self, observation: Observation) -> bool:
        document = {"_id": observation.id, **observation.model_dump(mode="json"), "counted": False}
        return await self._outcomes.insert_once(document)

    async def uncounted(self, rollout_id: str, limit: int) -> Sequence[Observation]:
        found = await self._outcomes.find({"rollout_id": rollout_id, "counted": False}, sort=[("at", 1)], limit=limit)
        return [Observation.model_validate(each) for each in found]

    async def mark(self, ids: Sequence[str]) -> None:
        if not ids or tuple(ids) == self._marked:
            return
        await self._outcomes.update_each([({"_id": each}, {"$set": {"counted": True}}) for each in ids])
        self._marked = tuple(ids)

    async def counted_before(self, seen: Sequence[Observation], phase: Phase) -> frozenset[str]:
        keys = {each.id: _unit_key(each, phase) for each in seen if each.unit}
        first: dict[str, str] = {}
        for outcome, key in keys.items():
            first.setdefault(key, outcome)
        if not first:
            return frozenset()
        known = await self._units.insert_many([{"_id": key, "outcome": outcome} for key, outcome in first.items()])
        for kept in await self._units.find({"_id": {"$in": sorted(known)}}) if known else ():
            first[kept["_id"]] = kept["outcome"]
        return frozenset(outcome for outcome, key in keys.items() if first[key] != outcome)

    async def of_run(self, run_id: str) -> Sequence[Observation]:
        return [Observation.model_validate(each) for each in await self._outcomes.find({"run_id": run_id})]

    async def report(self, run_id: str, score: float) -> float:
        await self._reports.insert_once({"_id": run_id, "score": score})
        kept = await self.reported(run_id)
        if kept is None:
            raise UnavailableError(f"the outcome of run {run_id} cannot be read back")
        return kept

    async def reported(self, run_id: str) -> float | None:
        found = await self._reports.get(run_id)
        return float(found["score"]) if found else None


def _unit_key(seen: Observation, phase: Phase) -> str:
    """No part has a slash. A unit that was outside of the comparison may come into it when the share goes up."""
    return "/".join((seen.rollout_id, phase, "outside" if seen.arm == "outside" else seen.kind, seen.unit))
