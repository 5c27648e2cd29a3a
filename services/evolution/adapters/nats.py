"""The guardrail and the announcements over the bus."""

from __future__ import annotations

from typing import Any

from services.evolution.ports import LabelledCases, StablePipeline
from shared.errors import NotFoundError
from shared.events.changes import GetChange, GetDataset, GetPipeline, GrantScope
from shared.events.message import Message
from shared.events.quotas import EstimateCost
from shared.events.rollouts import GetRollout
from shared.events.values import Budget, Case, GraderSpec, GrantedScope
from shared.messaging.bus import Bus

_ASK_SECONDS = 10.0
_MOST_CASES = 5000


class BusCustodian:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def stable(self, pipeline: str) -> StablePipeline:
        answer = await self._bus.ask(GetPipeline(pipeline=pipeline), timeout_seconds=_ASK_SECONDS)
        if not answer.get("stable") or not answer.get("document"):
            raise NotFoundError(f"pipeline {pipeline!r} has no stable revision")
        return StablePipeline(answer["stable"], answer["document"])

    async def dataset(self, dataset_id: str) -> LabelledCases:
        query = GetDataset(dataset_id=dataset_id, splits=("train", "dev"), limit=_MOST_CASES)
        answer = await self._bus.ask(query, timeout_seconds=_ASK_SECONDS)
        cases = tuple(Case.model_validate(case) for case in answer["cases"])
        return LabelledCases(dataset_id, answer["domain"], GraderSpec.model_validate(answer["grader"]), cases)

    async def estimate(self, pipeline: str, runs: int) -> Budget:
        answer = await self._bus.ask(EstimateCost(pipeline=pipeline, runs=runs), timeout_seconds=_ASK_SECONDS)
        total = answer["total"]
        return Budget(runs=total["runs"], calls=total["calls"], tokens=total["tokens"], cost_usd=total["cost_usd"])

    async def grant_scope(self, query: GrantScope) -> GrantedScope:
        return GrantedScope.model_validate(await self._bus.ask(query, timeout_seconds=_ASK_SECONDS))

    async def gate_of(self, change_id: str) -> dict[str, Any] | None:
        answer = await self._bus.ask(GetChange(change_id=change_id), timeout_seconds=_ASK_SECONDS)
        gate = answer.get("gate")
        return dict(gate) if gate else None


class BusPromotions:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def change(self, change_id: str) -> dict[str, Any]:
        return await self._bus.ask(GetChange(change_id=change_id), timeout_seconds=_ASK_SECONDS)

    async def change_of_rollout(self, rollout_id: str) -> str:
        answer = await self._bus.ask(GetRollout(rollout_id=rollout_id), timeout_seconds=_ASK_SECONDS)
        return str(answer.get("change_id", ""))


class BusAnnouncer:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def announce(self, message: Message, *, cause: str, effect: str) -> None:
        await self._bus.publish(message, cause=cause, effect=effect)
