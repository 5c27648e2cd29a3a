"""All ports together."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.guardrail.domain.policies import ActivePolicy
from services.guardrail.domain.policy import Policy
from services.guardrail.domain.refusals import Refusals
from services.guardrail.domain.turns import Turns
from services.guardrail.ports.audit import AuditLog, Checkpoints, LateNotes
from services.guardrail.ports.budgets import Budgets, Prices, Scopes, Sealing
from services.guardrail.ports.changes import Changes, Deployments, Freezes, Revisions, Rollbacks
from services.guardrail.ports.custody import Allowances, Datasets, Runs
from services.guardrail.ports.oversight import Delegations, Identities, Policies, RegistryNotes, Signer
from services.guardrail.ports.rollouts import Rollouts
from services.guardrail.ports.telling import Announcer, Gauges, OversightGauges
from shared.clock import Clock


@dataclass(frozen=True)
class Limits:
    """How much the gate may run at once, and how long one look may take."""

    gate_in_flight: int = 8
    gate_seconds: float = 900.0
    patient_attempts: int = 3
    """Deliveries after which a look that could not be completed is judged as it is."""


@dataclass
class LoadedPolicy:
    """What a process remembers of the policy in force, so that it is parsed and its signature checked once an activation."""

    active: ActivePolicy | None = None
    policy: Policy | None = None

    @property
    def generation(self) -> int:
        return self.active.generation if self.active else 0

    def remember(self, active: ActivePolicy, policy: Policy) -> None:
        self.active, self.policy = active, policy


@dataclass(frozen=True)
class Guardrail:
    """Everything that the use cases work with."""

    changes: Changes
    revisions: Revisions
    deployments: Deployments
    datasets: Datasets
    allowances: Allowances
    budgets: Budgets
    sealing: Sealing
    prices: Prices
    scopes: Scopes
    rollbacks: Rollbacks
    policies: Policies
    freeze: Freezes
    rollouts: Rollouts
    announcer: Announcer
    audit: AuditLog
    late_notes: LateNotes
    checkpoints: Checkpoints
    runs: Runs
    signer: Signer
    gauges: Gauges
    identities: Identities
    registry_notes: RegistryNotes
    delegations: Delegations
    oversight: OversightGauges
    clock: Clock
    policy: Policy
    """The file's; at the edge `use_cases.in_force` puts the one that is in force in its place."""
    meta_names: frozenset[str]
    """Names of the system's own pipelines, whose changes always wait for people."""
    limits: Limits = Limits()
    loaded: LoadedPolicy = field(default_factory=LoadedPolicy)
    turns: Turns = field(default_factory=Turns)
    refusals: Refusals = field(default_factory=Refusals)
