"""Subject -> use case -> effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from services.guardrail import use_cases
from services.guardrail.domain.authority import AUTHORITY, QUESTIONS, authorize
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases import Effects, Place
from shared.errors import ConfigurationError, NotAuthorizedError
from shared.events.audit import (
    FindAuditEntries,
    GetAuditCheckpoint,
    GetAuditConsistency,
    GetAuditProof,
    ReadAuditLog,
)
from shared.events.changes import (
    DecideReview,
    GetChange,
    GetDataset,
    GetPipeline,
    GrantScope,
    ListPipelines,
    ListReviews,
    MeasurePipelines,
    ProposeChange,
    RegisterDataset,
    RollbackPipeline,
)
from shared.events.custody import ListDatasets, ListFeedback
from shared.events.message import Command, Query
from shared.events.oversight import DelegateReviews, GetReview, ListDelegations, RevokeDelegation
from shared.events.policies import CheckPolicy, GetPolicy, ListPolicies, TestPolicy
from shared.events.quotas import CloseScope, EstimateCost, LeaseQuota, ListBudgets, ListReservations, ReportUse
from shared.events.recovery import FreezeSystem, GetFreezes, GetKeys, QuarantineRevision, ReleaseRevision, UnfreezeSystem
from shared.events.rollouts import ControlRollout, GetRollout, ListRollouts, ReportOutcome, StartRollout
from shared.events.runs import RunFinished
from shared.events.values import GrantedScope
from shared.identity import Signature
from shared.messaging.consumer import Answer, Consumer
from shared.messaging.handling import Delivery, Handler

TAKEN_AHEAD = 8
"""Proposals taken for each that is judged: those that wait for their turn must not keep other pipelines waiting."""
C = TypeVar("C", bound=Command)
Q = TypeVar("Q", bound=Query)


class Edge:
    """Commands come in here only: first it is asked who sent them, then they are handled."""

    def __init__(self, consumer: Consumer, at: Guardrail) -> None:
        self._consumer = consumer
        self._at = at

    def on(self, command_class: type[C], handler: Callable[[C, Delivery], Awaitable[Effects]], **options: Any) -> None:
        """Raises `ConfigurationError` for a command that the table of authority does not know."""
        if command_class not in AUTHORITY:
            raise ConfigurationError(
                f"{command_class.__name__} has no row in services/guardrail/domain/authority.py: who may send it?"
            )

        async def checked(command: C, delivery: Delivery) -> Effects:
            try:
                authorize(command, delivery.signature)
            except NotAuthorizedError as error:
                await use_cases.audit_unauthorized(
                    command, str(error), self._at, signer=delivery.signer, message_id=delivery.message_id
                )
                raise
            return await handler(command, delivery)

        self._consumer.on(command_class, checked, **options)

    def answers(self, query_class: type[Q], handler: Callable[[Q], Awaitable[Answer]]) -> None:
        """Of those that the table knows; it is asked first who asks. A refusal is counted with the answers, by its code: an entry
        of the audit log for each would let anybody fill it."""
        if query_class not in QUESTIONS:
            raise ConfigurationError(
                f"{query_class.__name__} has no row in services/guardrail/domain/authority.py: who may ask it?"
            )

        async def checked(query: Q, signature: Signature) -> Answer:
            authorize(query, signature)
            return await handler(query)

        self._consumer.answers_signed(query_class, checked)


def register(consumer: Consumer, at: Guardrail, *, concurrency: int) -> None:
    edge = Edge(consumer, at)
    _commands(edge, at, concurrency)
    _review_commands(edge, at)
    _recovery(edge, at)
    _recovery_queries(consumer, at)
    _rollouts(edge, consumer, at, concurrency)
    _queries(edge, consumer, at)
    _audit_queries(consumer, at)
    _review_queries(consumer, at)
    _policy_queries(consumer, at)
    _budget_queries(edge, consumer, at)


def _commands(edge: Edge, at: Guardrail, concurrency: int) -> None:
    async def on_propose(command: ProposeChange, delivery: Delivery) -> Effects:
        return await use_cases.propose_change(
            command,
            await use_cases.in_force(at),
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

    on = _while_sound(edge, at)
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


def _review_commands(edge: Edge, at: Guardrail) -> None:
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

    on = _while_sound(edge, at)
    on(DecideReview, on_decide, durable="guardrail-decide")
    on(DelegateReviews, on_delegate, durable="guardrail-delegate")
    on(RevokeDelegation, on_revoke_delegation, durable="guardrail-revoke-delegation")


def _while_sound(edge: Edge, at: Guardrail) -> Callable[..., None]:
    """Subscribes commands that decide something: only while the audit log is sound, and with what is refused in it."""

    def on(command: type[Command], handler: Handler, **options: Any) -> None:
        async def while_the_log_is_sound(message: Any, delivery: Delivery) -> Effects:
            at.audit.require_sound()
            effects = list(await handler(message, delivery) or ())
            await use_cases.audit_refusals(message, effects, at, message_id=delivery.message_id)
            return effects

        edge.on(command, while_the_log_is_sound, **options)

    return on


def _taking_away(edge: Edge, at: Guardrail) -> Callable[..., None]:
    """Subscribes commands that only make things safer: they do not wait for a log that is closed, which is told."""
    late = use_cases.taking_away(at)

    def on(command: type[Command], use_case: Callable[[Any, Guardrail], Awaitable[Effects]], **options: Any) -> None:
        async def at_once(message: Any, delivery: Delivery) -> Effects:
            effects = list(await use_case(message, late) or ())
            await use_cases.audit_refusals(message, effects, late, message_id=delivery.message_id)
            return await use_cases.told_loudly(message, effects, late)

        edge.on(command, at_once, **options)

    return on


def _recovery(edge: Edge, at: Guardrail) -> None:
    async def on_unfreeze(command: UnfreezeSystem, _: Delivery) -> Effects:
        return await use_cases.unfreeze_system(command, at)

    async def on_release(command: ReleaseRevision, delivery: Delivery) -> Effects:
        return await use_cases.release_revision(
            command, await use_cases.in_force(at), message_id=delivery.message_id, signature=delivery.signature
        )

    take_away = _taking_away(edge, at)
    take_away(FreezeSystem, use_cases.freeze_system, durable="guardrail-freeze")
    take_away(QuarantineRevision, use_cases.quarantine_revision, durable="guardrail-quarantine")
    take_away(RollbackPipeline, use_cases.roll_back, durable="guardrail-rollback", concurrency=2)
    on = _while_sound(edge, at)
    on(UnfreezeSystem, on_unfreeze, durable="guardrail-unfreeze")
    on(ReleaseRevision, on_release, durable="guardrail-release")


def _recovery_queries(consumer: Consumer, at: Guardrail) -> None:
    async def get_freezes(query: GetFreezes) -> dict[str, Any]:
        return await use_cases.get_freezes(query, at)

    async def get_keys(query: GetKeys) -> dict[str, Any]:
        return await use_cases.get_keys(query, at)

    consumer.answers(GetKeys, get_keys)
    consumer.answers(GetFreezes, get_freezes)


def _rollouts(edge: Edge, consumer: Consumer, at: Guardrail, concurrency: int) -> None:
    pace = use_cases.Pace(at)

    async def on_start(command: StartRollout, _: Delivery) -> Effects:
        return await use_cases.start_rollout(command, await use_cases.in_force(at))

    async def on_control(command: ControlRollout, _: Delivery) -> Effects:
        return await use_cases.control_rollout(command, at)

    async def on_report(command: ReportOutcome, _: Delivery) -> Effects:
        return await use_cases.report_outcome(command, pace)

    async def on_run_finished(fact: RunFinished, _: Delivery) -> Effects:
        return await use_cases.observe_run(fact, pace)

    async def get_rollout(query: GetRollout) -> dict[str, Any]:
        return await use_cases.get_rollout(query, at)

    async def list_rollouts(query: ListRollouts) -> dict[str, Any]:
        return await use_cases.list_rollouts(query, at)

    on = _while_sound(edge, at)
    on(StartRollout, on_start, durable="guardrail-start-rollout")
    on(ControlRollout, on_control, durable="guardrail-control-rollout")
    edge.on(ReportOutcome, on_report, durable="guardrail-report-outcome", concurrency=concurrency)
    consumer.on(RunFinished, on_run_finished, durable="guardrail-run-finished", concurrency=4 * concurrency)
    consumer.answers(GetRollout, get_rollout)
    consumer.answers(ListRollouts, list_rollouts)


def _queries(edge: Edge, consumer: Consumer, at: Guardrail) -> None:
    async def grant_scope(query: GrantScope) -> GrantedScope:
        at.audit.require_sound()
        return await use_cases.grant_scope(query, await use_cases.in_force(at))

    async def get_dataset(query: GetDataset) -> dict[str, Any]:
        return await use_cases.get_dataset(query, at)

    async def get_change(query: GetChange) -> dict[str, Any]:
        return await use_cases.get_change(query, at)

    async def get_pipeline(query: GetPipeline) -> dict[str, Any]:
        return await use_cases.get_pipeline(query, at)

    async def list_pipelines(query: ListPipelines) -> dict[str, Any]:
        return await use_cases.list_pipelines(query, at)

    async def list_datasets(query: ListDatasets) -> dict[str, Any]:
        return await use_cases.list_datasets(query, at)

    async def list_feedback(query: ListFeedback) -> dict[str, Any]:
        return await use_cases.list_feedback(query, at)

    consumer.answers(ListDatasets, list_datasets)
    consumer.answers(ListFeedback, list_feedback)
    edge.answers(GrantScope, grant_scope)
    consumer.answers(GetDataset, get_dataset)
    consumer.answers(GetChange, get_change)
    consumer.answers(GetPipeline, get_pipeline)
    consumer.answers(ListPipelines, list_pipelines)


def _audit_queries(consumer: Consumer, at: Guardrail) -> None:
    async def get_checkpoint(query: GetAuditCheckpoint) -> dict[str, Any]:
        return await use_cases.get_audit_checkpoint(query, at)

    async def read_log(query: ReadAuditLog) -> dict[str, Any]:
        return await use_cases.read_audit_log(query, at)

    async def find_entries(query: FindAuditEntries) -> dict[str, Any]:
        return await use_cases.find_audit_entries(query, at)

    async def get_proof(query: GetAuditProof) -> dict[str, Any]:
        return await use_cases.get_audit_proof(query, at)

    async def get_consistency(query: GetAuditConsistency) -> dict[str, Any]:
        return await use_cases.get_audit_consistency(query, at)

    consumer.answers(GetAuditCheckpoint, get_checkpoint)
    consumer.answers(ReadAuditLog, read_log)
    consumer.answers(FindAuditEntries, find_entries)
    consumer.answers(GetAuditProof, get_proof)
    consumer.answers(GetAuditConsistency, get_consistency)


def _policy_queries(consumer: Consumer, at: Guardrail) -> None:
    async def get_policy(query: GetPolicy) -> dict[str, Any]:
        return await use_cases.get_policy(query, at)

    async def list_policies(query: ListPolicies) -> dict[str, Any]:
        return await use_cases.list_policies(query, at)

    async def test_policy(query: TestPolicy) -> dict[str, Any]:
        return await use_cases.test_policy(query, at)

    consumer.answers(GetPolicy, get_policy)
    consumer.answers(ListPolicies, list_policies)
    consumer.answers(CheckPolicy, use_cases.check_policy)
    consumer.answers(TestPolicy, test_policy)


def _review_queries(consumer: Consumer, at: Guardrail) -> None:
    async def list_reviews(query: ListReviews) -> dict[str, Any]:
        return await use_cases.list_reviews(query, await use_cases.in_force(at))

    async def get_review(query: GetReview) -> dict[str, Any]:
        return await use_cases.get_review(query, await use_cases.in_force(at))

    async def list_delegations(query: ListDelegations) -> dict[str, Any]:
        return await use_cases.list_delegations(query, at)

    consumer.answers(ListReviews, list_reviews)
    consumer.answers(GetReview, get_review)
    consumer.answers(ListDelegations, list_delegations)


def _budget_queries(edge: Edge, consumer: Consumer, at: Guardrail) -> None:
    async def list_budgets(query: ListBudgets) -> dict[str, Any]:
        return await use_cases.list_budgets(query, await use_cases.in_force(at))

    async def list_reservations(query: ListReservations) -> dict[str, Any]:
        return await use_cases.list_reservations(query, await use_cases.in_force(at))

    async def estimate_cost(query: EstimateCost) -> dict[str, Any]:
        return await use_cases.estimate_cost(query, await use_cases.in_force(at))

    async def lease_quota(query: LeaseQuota) -> dict[str, Any]:
        return await use_cases.lease_quota(query, await use_cases.in_force(at))

    async def report_use(query: ReportUse) -> dict[str, Any]:
        return await use_cases.report_use(query, at)

    edge.answers(LeaseQuota, lease_quota)
    edge.answers(ReportUse, report_use)
    consumer.answers(ListBudgets, list_budgets)
    consumer.answers(ListReservations, list_reservations)
    consumer.answers(EstimateCost, estimate_cost)
