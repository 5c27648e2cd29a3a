"""Subject -> use case -> effects."""

from __future__ import annotations

from services.evolution.use_cases import Effects, Evolution, forget, read_evolution, record_gate, record_verdict, start_evolution
from shared.attestation import Approvals
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished, PipelineRolledBack
from shared.events.improvement import GetEvolution, StartEvolution
from shared.events.recovery import RevisionQuarantined
from shared.messaging.consumer import Consumer
from shared.messaging.handling import Delivery

_LONGEST_EVOLUTION_SECONDS = 90_000.0
"""A day, the longest time that a command may ask for, and some more for the finalists."""


def register(consumer: Consumer, at: Evolution, approvals: Approvals, *, concurrency: int) -> None:
    async def on_start_evolution(command: StartEvolution, _: Delivery) -> Effects:
        return await start_evolution(command, at)

    async def on_gate_finished(fact: GateFinished, _: Delivery) -> Effects:
        return await record_gate(fact, at)

    async def on_verdict(decision: ChangeApproved | ChangeQueued | ChangeVetoed, _: Delivery) -> Effects:
        if isinstance(decision, ChangeApproved):
            approvals.check_change(decision)
        return await record_verdict(decision, at)

    async def on_taken_out(fact: PipelineRolledBack | RevisionQuarantined, _: Delivery) -> Effects:
        return await forget(fact.quarantined, at)

    async def get_evolution(query: GetEvolution) -> dict[str, object]:
        return await read_evolution(query, at)

    consumer.on(
        StartEvolution,
        on_start_evolution,
        durable="evolution-start",
        concurrency=concurrency,
        deadline_seconds=_LONGEST_EVOLUTION_SECONDS,
    )
    consumer.on(GateFinished, on_gate_finished, durable="evolution-gate-finished")
    consumer.on(ChangeApproved, on_verdict, durable="evolution-change-approved")
    consumer.on(ChangeQueued, on_verdict, durable="evolution-change-queued")
    consumer.on(ChangeVetoed, on_verdict, durable="evolution-change-vetoed")
    consumer.on(PipelineRolledBack, on_taken_out, durable="evolution-pipeline-rolled-back")
    consumer.on(RevisionQuarantined, on_taken_out, durable="evolution-revision-quarantined")
    consumer.answers(GetEvolution, get_evolution)
