"""Commands that propose, decide and take away."""

from __future__ import annotations

from services.guardrail import use_cases
from services.guardrail.ports import Guardrail
from services.guardrail.subscribers.edge import Edge, taking_away, while_sound
from services.guardrail.use_cases import Effects, Place
from shared.events.changes import DecideReview, ProposeChange
from shared.events.datasets import MeasurePipelines, RegisterDataset
from shared.events.deployments import RollbackPipeline
from shared.events.oversight import DelegateReviews, RevokeDelegation
from shared.events.quotas import CloseScope
from shared.events.recovery import FreezeSystem, QuarantineRevision, ReleaseRevision, UnfreezeSystem
from shared.messaging.handling import Delivery

TAKEN_AHEAD = 8
"""Proposals taken for each look at sealed cases that may be under way: those that wait for one must not keep others waiting."""


def register(edge: Edge, at: Guardrail, concurrency: int) -> None:
    _proposals(edge, at, concurrency)
    _reviews(edge, at)
    _recovery(edge, at)


def _proposals(edge: Edge, at: Guardrail, concurrency: int) -> None:
    async def on_propose(command: ProposeChange, delivery: Delivery) -> Effects:
        return await use_cases.propose_change(
            command,
            at,
            attempt=delivery.attempt,
            place=Place(delivery.message_id, delivery.sequence),
            signature=delivery.signature,
        )

    async def on_register_dataset(command: RegisterDataset, _: Delivery) -> Effects:
        return await use_cases.register_dataset(command, at)

    async def on_measure(command: MeasurePipelines, delivery: Delivery) -> Effects:
        return await use_cases.measure_pipelines(command, await use_cases.in_force(at), attempt=delivery.attempt)

    async def on_close_scope(command: CloseScope, _: Delivery) -> Effects:
        return await use_cases.close_scope(command, at)

    on = while_sound(edge, at)
    # A look bounds itself; the deadline is only behind it. Rollbacks and reviews have consumers of their own, so they never wait.
    patient = at.limits.gate_seconds + 60
    on(
        ProposeChange,
        on_propose,
        durable="guardrail-propose",
        concurrency=concurrency * TAKEN_AHEAD,
        # Looks at cases of one pipeline wait for each other.
        deadline_seconds=patient * TAKEN_AHEAD,
    )
    on(MeasurePipelines, on_measure, durable="guardrail-measure", concurrency=2, deadline_seconds=patient)
    on(CloseScope, on_close_scope, durable="guardrail-close-scope", concurrency=2)
    on(RegisterDataset, on_register_dataset, durable="guardrail-register-dataset")


def _reviews(edge: Edge, at: Guardrail) -> None:
    async def on_decide(command: DecideReview, delivery: Delivery) -> Effects:
        return await use_cases.decide_review(
            command,
            await use_cases.in_force(at),
            decision_id=delivery.message_id,
            signature=delivery.signature,
            body=delivery.body,
        )

    async def on_delegate(command: DelegateReviews, _: Delivery) -> Effects:
        return await use_cases.delegate_reviews(command, at)

    async def on_revoke_delegation(command: RevokeDelegation, delivery: Delivery) -> Effects:
        return await use_cases.revoke_delegation(command, at, signature=delivery.signature)

    on = while_sound(edge, at)
    on(DecideReview, on_decide, durable="guardrail-decide")
    on(DelegateReviews, on_delegate, durable="guardrail-delegate")
    on(RevokeDelegation, on_revoke_delegation, durable="guardrail-revoke-delegation")


def _recovery(edge: Edge, at: Guardrail) -> None:
    async def on_unfreeze(command: UnfreezeSystem, _: Delivery) -> Effects:
        return await use_cases.unfreeze_system(command, at)

    async def on_release(command: ReleaseRevision, delivery: Delivery) -> Effects:
        return await use_cases.release_revision(
            command, await use_cases.in_force(at), message_id=delivery.message_id, signature=delivery.signature
        )

    take_away = taking_away(edge, at)
    take_away(FreezeSystem, use_cases.freeze_system, durable="guardrail-freeze")
    take_away(QuarantineRevision, use_cases.quarantine_revision, durable="guardrail-quarantine")
    take_away(RollbackPipeline, use_cases.roll_back, durable="guardrail-rollback", concurrency=2)
    on = while_sound(edge, at)
    on(UnfreezeSystem, on_unfreeze, durable="guardrail-unfreeze")
    on(ReleaseRevision, on_release, durable="guardrail-release")
