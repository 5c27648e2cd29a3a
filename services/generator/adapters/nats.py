"""Other services over the bus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.attestation import Grants
from shared.errors import UnavailableError
from shared.events.answers import reading
from shared.events.changes import GrantScope
from shared.events.datasets import GetDataset
from shared.events.improvement import GetReport
from shared.events.message import Message
from shared.events.values import Case, GraderSpec, GrantedScope
from shared.messaging.bus import Bus


class BusCustodian:
    def __init__(self, bus: Bus, grants: Grants) -> None:
        self._bus = bus
        self._grants = grants

    async def grant_scope(self, query: GrantScope) -> GrantedScope:
        return self._grants.checked(await self._bus.ask(query, timeout_seconds=10.0), query)

    async def dataset(self, dataset_id: str) -> tuple[Sequence[Case], GraderSpec, str]:
        answer = await self._bus.ask(GetDataset(dataset_id=dataset_id), timeout_seconds=10.0)
        with reading(GetDataset):
            return (
                [Case.model_validate(case) for case in answer["cases"]],
                GraderSpec.model_validate(answer["grader"]),
                str(answer["domain"]),
            )


class BusAnnouncer:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def announce(self, message: Message, *, cause: str, effect: str) -> None:
        await self._bus.publish(message, cause=cause, effect=effect)


class BusMetrics:
    """A few numbers for a prompt; without analytics the generator goes on and says so in the prompt."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def summary(self, domain: str) -> dict[str, Any]:
        try:
            report = await self._bus.ask(GetReport(limit=3), timeout_seconds=2.0)
        except UnavailableError:
            return {"history": "not available"}
        keys = ("pipeline", "runs", "success_rate", "latency_p50_seconds")
        with reading(GetReport):
            return {"history": [{key: row[key] for key in keys if key in row} for row in report.get("pipelines", [])] or "none yet"}
