"""What the guardrail needs from outside, by role."""

from services.guardrail.ports.audit import AuditLog, Checkpoints, LateNotes
from services.guardrail.ports.budgets import Budgets, LeaseUse, Prices, Scopes, ScopeUse, Sealing
from services.guardrail.ports.changes import Changes, Deployments, Freezes, Revisions, Rollbacks
from services.guardrail.ports.custody import Allowances, Datasets, Runs
from services.guardrail.ports.errors import AuditLogUnsoundError, LostRaceError, ReservationError
from services.guardrail.ports.guardrail import Guardrail, Limits, LoadedPolicy
from services.guardrail.ports.oversight import Delegations, Identities, Policies, RegistryNotes, Signer
from services.guardrail.ports.rollouts import Rollouts
from services.guardrail.ports.telling import Announcer, Gauges, OversightGauges

__all__ = [
    "Allowances",
    "Announcer",
    "AuditLog",
    "AuditLogUnsoundError",
    "Budgets",
    "Changes",
    "Checkpoints",
    "Datasets",
    "Delegations",
    "Deployments",
    "Freezes",
    "Gauges",
    "Guardrail",
    "Identities",
    "LateNotes",
    "LeaseUse",
    "Limits",
    "LoadedPolicy",
    "LostRaceError",
    "OversightGauges",
    "Policies",
    "Prices",
    "RegistryNotes",
    "ReservationError",
    "Revisions",
    "Rollbacks",
    "Rollouts",
    "Runs",
    "ScopeUse",
    "Scopes",
    "Sealing",
    "Signer",
]
