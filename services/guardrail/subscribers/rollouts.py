"""Rollouts: their commands, what they observe, and questions about them."""

from __future__ import annotations

from typing import Any

from services.guardrail import use_cases
from services.guardrail.ports import Guardrail
from services.guardrail.subscribers.edge import Edge, while_sound
from services.guardrail.use_cases import Effects
from shared.events.rollouts import ControlRollout, GetRollout, ListRollouts, ReportOutcome, StartRollout
from shared.events.runs import RunFinished
from shared.messaging.consumer import Consumer
from shared.messaging.handling import Delivery


def register(edge: Edge, consumer: Consumer, at: Guardrail, concurrency: int) -> None:
    pace = use_cases.Pace(at)

    async def on_start(command: StartRollout, _: Delivery) -> Effects:
        return await use_cases.start_rollout(command, await use_cases.in_force(at))

    async def on_control(command: ControlRollout, delivery: Delivery) -> Effects:
        return await use_cases.control_rollout(command, at, message_id=delivery.message_id)

    async def on_report(command: ReportOutcome, _: Delivery) -> Effects:
        return await use_cases.report_outcome(command, pace)

    async def on_run_finished(fact: RunFinished, _: Delivery) -> Effects:
        return await use_cases.observe_run(fact, pace)

    async def get_rollout(query: GetRollout) -> dict[str, Any]:
        return await use_cases.get_rollout(query, at)

    async def list_rollouts(query: ListRollouts) -> dict[str, Any]:
        return await use_cases.list_rollouts(query, at)

    on = while_sound(edge, at)
    on(StartRollout, on_start, durable="guardrail-start-rollout")
    on(ControlRollout, on_control, durable="guardrail-control-rollout")
    edge.on(ReportOutcome, on_report, durable="guardrail-report-outcome", concurrency=concurrency)
    consumer.on(RunFinished, on_run_finished, durable="guardrail-run-finished", concurrency=4 * concurrency)
    consumer.answers(GetRollout, get_rollout)
    consumer.answers(ListRollouts, list_rollouts)
