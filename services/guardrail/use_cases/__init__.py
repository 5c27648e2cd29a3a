"""The guardrail's verbs: (message, ports) -> effects."""

from __future__ import annotations

from services.guardrail.use_cases.auditing import (
    audit_refusals,
    audit_unauthorized,
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
from services.guardrail.use_cases.budget_queries import estimate_cost, list_budgets, list_reservations
from services.guardrail.use_cases.datasets import get_dataset, list_datasets, register_dataset
from services.guardrail.use_cases.delegations import delegate_reviews, list_delegations, revoke_delegation
from services.guardrail.use_cases.feedback import list_feedback
from services.guardrail.use_cases.freezing import freeze_system, get_freezes, unfreeze_system
from services.guardrail.use_cases.holding import OWN, HeldChanges
from services.guardrail.use_cases.keys import adopt_keys, get_keys
from services.guardrail.use_cases.late_audit import take_up_late_notes, taking_away, told_loudly
from services.guardrail.use_cases.measuring import measure_pipelines
from services.guardrail.use_cases.policies import in_force, seed_policy
from services.guardrail.use_cases.policy_queries import check_policy, get_policy, list_policies, test_policy
from services.guardrail.use_cases.production import lease_quota, report_use
from services.guardrail.use_cases.propose import Place, propose_change
from services.guardrail.use_cases.quarantine import quarantine_revision, release_revision
from services.guardrail.use_cases.queries import get_change, get_pipeline, get_review, list_pipelines, list_promotions, list_reviews
from services.guardrail.use_cases.registry import note_identities
from services.guardrail.use_cases.reviews import decide_review, expire_reviews
from services.guardrail.use_cases.rollbacks import roll_back
from services.guardrail.use_cases.rollouts.advancing import advance_all
from services.guardrail.use_cases.rollouts.controlling import control_rollout
from services.guardrail.use_cases.rollouts.forgetting import forget_outcomes
from services.guardrail.use_cases.rollouts.observing import Pace, observe_run, report_outcome
from services.guardrail.use_cases.rollouts.queries import get_rollout, list_rollouts
from services.guardrail.use_cases.rollouts.starting import start_rollout
from services.guardrail.use_cases.scopes import grant_scope
from services.guardrail.use_cases.settling import close_scope, sweep_budgets
from services.guardrail.use_cases.telling import Effects

__all__ = [
    "OWN",
    "Effects",
    "HeldChanges",
    "Pace",
    "Place",
    "adopt_keys",
    "advance_all",
    "attest_shipped",
    "audit_refusals",
    "audit_unauthorized",
    "check_audit_log",
    "check_policy",
    "checkpoint_audit_log",
    "close_scope",
    "control_rollout",
    "decide_review",
    "delegate_reviews",
    "estimate_cost",
    "expire_reviews",
    "find_audit_entries",
    "forget_outcomes",
    "freeze_system",
    "get_audit_checkpoint",
    "get_audit_consistency",
    "get_audit_proof",
    "get_change",
    "get_dataset",
    "get_freezes",
    "get_keys",
    "get_pipeline",
    "get_policy",
    "get_review",
    "get_rollout",
    "grant_scope",
    "in_force",
    "lapse_glass",
    "lease_quota",
    "list_budgets",
    "list_datasets",
    "list_delegations",
    "list_feedback",
    "list_pipelines",
    "list_policies",
    "list_promotions",
    "list_reservations",
    "list_reviews",
    "list_rollouts",
    "measure_pipelines",
    "note_identities",
    "observe_run",
    "propose_change",
    "quarantine_revision",
    "read_audit_log",
    "register_dataset",
    "release_revision",
    "report_outcome",
    "report_use",
    "revoke_delegation",
    "roll_back",
    "seed_policy",
    "start_rollout",
    "sweep_budgets",
    "take_up_late_notes",
    "taking_away",
    "test_policy",
    "told_loudly",
    "unfreeze_system",
]
