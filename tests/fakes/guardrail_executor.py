"""Scripted executors behind the real bus."""

from __future__ import annotations

from collections.abc import Sequence

from shared.events.message import Message
from shared.events.runs import ExecuteRun, FinishedRuns
from shared.messaging.consumer import Answer, Consumer
from shared.messaging.handling import Delivery
from tests.fakes.guardrail_ports import ScriptedFleet


class BusExecutor:
    """Answers `ExecuteRun` and `FinishedRuns` as `ScriptedFleet` does."""

    def __init__(self, fleet: ScriptedFleet) -> None:
        self.fleet = fleet

    def register(self, consumer: Consumer) -> None:
        consumer.on(ExecuteRun, self._execute, durable="executor-execute", concurrency=4)
        consumer.answers(FinishedRuns, self._finished)

    async def _execute(self, command: ExecuteRun, _: Delivery) -> Sequence[tuple[str, Message]]:
        ended = await self.fleet.run_all([command], max_in_flight=1, deadline_seconds=1)
        return [("finished", run) for run in ended.values()]

    async def _finished(self, query: FinishedRuns) -> Answer:
        ended = self.fleet.ended(query.run_ids)
        return {"runs": [run.model_dump(mode="json") for run in ended]}
