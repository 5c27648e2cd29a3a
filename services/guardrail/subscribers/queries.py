"""Questions, and their answers."""

from __future__ import annotations

from typing import Any

from services.guardrail import use_cases
from services.guardrail.ports import Guardrail
from services.guardrail.subscribers.edge import Edge
from shared.events.audit import FindAuditEntries, GetAuditCheckpoint, GetAuditConsistency, GetAuditProof, ReadAuditLog
from shared.events.changes import GetChange, GrantScope, ListPromotions, ListReviews
from shared.events.custody import ListDatasets, ListFeedback
from shared.events.datasets import GetDataset
from shared.events.deployments import GetPipeline, ListPipelines
from shared.events.oversight import GetReview, ListDelegations
from shared.events.policies import CheckPolicy, GetPolicy, ListPolicies, TestPolicy
from shared.events.quotas import EstimateCost, LeaseQuota, ListBudgets, ListReservations, ReportUse
from shared.events.recovery import GetFreezes, GetKeys
from shared.events.values import GrantedScope
from shared.messaging.consumer import Consumer


def register(edge: Edge, consumer: Consumer, at: Guardrail) -> None:
    _recovery(consumer, at)
    _changes(edge, consumer, at)
    _audit(consumer, at)
    _reviews(consumer, at)
    _policies(consumer, at)
    _budgets(edge, consumer, at)


def _recovery(consumer: Consumer, at: Guardrail) -> None:
    async def get_freezes(query: GetFreezes) -> dict[str, Any]:
        return await use_cases.get_freezes(query, at)

    async def get_keys(query: GetKeys) -> dict[str, Any]:
        return await use_cases.get_keys(query, at)

    consumer.answers(GetKeys, get_keys)
    consumer.answers(GetFreezes, get_freezes)


def _changes(edge: Edge, consumer: Consumer, at: Guardrail) -> None:
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


def _audit(consumer: Consumer, at: Guardrail) -> None:
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


def _policies(consumer: Consumer, at: Guardrail) -> None:
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


def _reviews(consumer: Consumer, at: Guardrail) -> None:
    async def list_reviews(query: ListReviews) -> dict[str, Any]:
        return await use_cases.list_reviews(query, await use_cases.in_force(at))

    async def get_review(query: GetReview) -> dict[str, Any]:
        return await use_cases.get_review(query, await use_cases.in_force(at))

    async def list_delegations(query: ListDelegations) -> dict[str, Any]:
        return await use_cases.list_delegations(query, at)

    async def list_promotions(query: ListPromotions) -> dict[str, Any]:
        return await use_cases.list_promotions(query, at)

    consumer.answers(ListReviews, list_reviews)
    consumer.answers(ListPromotions, list_promotions)
    consumer.answers(GetReview, get_review)
    consumer.answers(ListDelegations, list_delegations)


def _budgets(edge: Edge, consumer: Consumer, at: Guardrail) -> None:
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
