"""The guardrail's verbs: (message, ports) -> effects."""

from __future__ import annotations

from services.guardrail.use_cases.auditing import (
    audit_refusals,
    check_audit_log,
    checkpoint_audit_log,
    find_audit_entries,
    get_audit_checkpoint,
    get_audit_consistency,
    get_audit_proof,
    read_audit_log,
)
from services.guardrail.use_cases.bootstrap import attest_shipped
from services.guardrail.use_cases.break_glass import lapse_glass
from services.guardrail.use_cases.datasets import get_dataset, list_datasets, register_dataset
from services.guardrail.use_cases.delegations import delegate_reviews, list_delegations, revoke_delegation
from services.guardrail.use_cases.feedback import list_feedback
from services.guardrail.use_cases.measuring import measure_pipelines
from services.guardrail.use_cases.policies import in_force, seed_policy
from services.guardrail.use_cases.policy_queries import check_policy, get_policy, list_policies, test_policy
from services.guardrail.use_cases.propose import propose_change
from services.guardrail.use_cases.queries import get_change, get_pipeline, get_review, list_pipelines, list_reviews
from services.guardrail.use_cases.registry import note_identities
from services.guardrail.use_cases.reviews import decide_review, expire_reviews
from services.guardrail.use_cases.rollbacks import roll_back
from services.guardrail.use_cases.scopes import grant_scope
from services.guardrail.use_cases.telling import Effects

__all__ = [
    "Effects",
    "attest_shipped",
    "audit_refusals",
    "check_audit_log",
    "check_policy",
    "checkpoint_audit_log",
    "decide_review",
    "delegate_reviews",
    "expire_reviews",
    "find_audit_entries",
    "get_audit_checkpoint",
    "get_audit_consistency",
    "get_audit_proof",
    "get_change",
    "get_dataset",
    "get_pipeline",
    "get_policy",
    "get_review",
    "grant_scope",
    "in_force",
    "lapse_glass",
    "list_datasets",
    "list_delegations",
    "list_feedback",
    "list_pipelines",
    "list_policies",
    "list_reviews",
    "measure_pipelines",
    "note_identities",
    "propose_change",
    "read_audit_log",
    "register_dataset",
    "revoke_delegation",
    "roll_back",
    "seed_policy",
    "test_policy",
]
