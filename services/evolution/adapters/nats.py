"""The guardrail and the announcements over the bus."""

from __future__ import annotations

from typing import Any

from services.evolution.ports import LabelledCases, StablePipeline
from shared.attestation import Grants
from shared.errors import InvalidInputError, NotFoundError
from shared.events.answers import malformed, reading
from shared.events.changes import GetChange, GrantScope
from shared.events.datasets import GetDataset
from shared.events.deployments import GetPipeline
from shared.events.message import Message
from shared.events.quotas import EstimateCost
from shared.events.rollouts import GetRollout
from shared.events.values import Budget, Case, GraderSpec, GrantedScope
from shared.messaging.bus import Bus
from shared.pipeline.loading import load_document

_ASK_SECONDS = 10.0
_MOST_CASES = 5000


class BusCustodian:
    """What cannot be read, is another answer than the one asked for or is not signed where it has to be is `UnavailableError`."""

    def __init__(self, bus: Bus, grants: Grants) -> None:
        self._bus = bus
        self._grants = grants

    async def stable(self, pipeline: str) -> StablePipeline:
        query = GetPipeline(pipeline=pipeline)
        answer = await self._bus.ask(query, timeout_seconds=_ASK_SECONDS)
        digest, document = answer["stable"], answer["document"]
        if digest is None:
            raise NotFoundError(f"pipeline {pipeline!r} has no stable revision: `evoline pipelines` lists what serves")
        with reading(query):
            return _same_document(str(digest), dict(document), pipeline)

    async def dataset(self, dataset_id: str) -> LabelledCases:
        query = GetDataset(dataset_id=dataset_id, splits=("train", "dev"), limit=_MOST_CASES)
        answer = await self._bus.ask(query, timeout_seconds=_ASK_SECONDS)
        with reading(query):
            cases = tuple(Case.model_validate(case) for case in answer["cases"])
            return LabelledCases(dataset_id, str(answer["domain"]), GraderSpec.model_validate(answer["grader"]), cases)

    async def estimate(self, pipeline: str, runs: int) -> Budget:
        query = EstimateCost(pipeline=pipeline, runs=runs)
        answer = await self._bus.ask(query, timeout_seconds=_ASK_SECONDS)
        with reading(query):
            total = answer["total"]
            return Budget(runs=total["runs"], calls=total["calls"], tokens=total["tokens"], cost_usd=total["cost_usd"])

    async def grant_scope(self, query: GrantScope) -> GrantedScope:
        return self._grants.checked(await self._bus.ask(query, timeout_seconds=_ASK_SECONDS), query)

    async def gate_of(self, change_id: str) -> dict[str, Any] | None:
        query = GetChange(change_id=change_id)
        answer = await self._bus.ask(query, timeout_seconds=_ASK_SECONDS)
        with reading(query):
            gate = answer.get("gate")
            return dict(gate) if gate else None

    async def rollout_of(self, change_id: str) -> str:
        query = GetChange(change_id=change_id)
        answer = await self._bus.ask(query, timeout_seconds=_ASK_SECONDS)
        with reading(query):
            return str(answer.get("rollout_id") or "")


def _same_document(digest: str, document: dict[str, Any], pipeline: str) -> StablePipeline:
    """Whatever is found on its way to the gate is compared with the revision of this digest: a search must begin with that one."""
    try:
        found = load_document(document).digest
    except InvalidInputError as error:
        raise malformed(GetPipeline.subject, f"its document is none: {error}") from error
    if found != digest:
        raise malformed(GetPipeline.subject, f"it names {pipeline}@{digest[:12]} and shows the document of {found[:12]}")
    return StablePipeline(digest, document)


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
