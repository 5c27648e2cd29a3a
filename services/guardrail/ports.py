"""What the guardrail needs from outside, by role."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from services.guardrail.domain.audit import AuditEntry, AuditNote
from services.guardrail.domain.budgets import Amounts, Reservation, Shortage, Standing
from services.guardrail.domain.freezing import FreezeBoard
from services.guardrail.domain.keys import Keys
from services.guardrail.domain.oversight import Delegation, RegistryNote
from services.guardrail.domain.policies import ActivePolicy, PolicyRecord
from services.guardrail.domain.policy import Policy
from services.guardrail.domain.records import ChangeRecord, Dataset, Deployment, RevisionRecord, RollbackRecord, SplitCases
from services.guardrail.domain.refusals import Refusals
from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.domain.rollout_evidence import Observation
from services.guardrail.domain.scope_records import ScopeRecord
from services.guardrail.domain.turns import Turns
from shared.audit.checkpoints import Checkpoint, TreeHead
from shared.audit.merkle import Node
from shared.clock import Clock
from shared.errors import PermanentError, UnavailableError
from shared.events.changes import GrantScope
from shared.events.message import Message
from shared.events.recovery import Freeze
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Attestation, Budget, Case, GrantedScope, Split
from shared.identity import Registry


class LostRaceError(UnavailableError):
    """Another writer was faster. Nothing was written: read again and decide again."""


class AuditLogUnsoundError(UnavailableError):
    """The log is not what it was, so nothing more is decided but what only takes away: other commands wait, what serves goes on."""

    code = "audit_log_unsound"

    def __init__(self, faults: Sequence[str]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(
            f"the audit log is not what it was: {faults[0]}{more}. Nothing is decided until it is mended (freeze, "
            "rollback and quarantine work all the same): run "
            "`evoline audit verify`, restore the guardrail's database from a backup and restart the guardrail; "
            "docs/policy.md says how to go on without one"
        )


class ReservationError(PermanentError):
    """Its id is that of another reservation, or of one that was settled."""

    code = "reservation"


class Changes(Protocol):
    async def open(self, record: ChangeRecord) -> ChangeRecord:
        """The stored record of this id: the given one, or the one that was there before."""
        ...

    async def get(self, change_id: str) -> ChangeRecord | None: ...
    async def save(self, record: ChangeRecord) -> ChangeRecord:
        """Writes the next version. Raises `LostRaceError` where the stored one is not the one that `record` came from."""
        ...

    async def queued(self, limit: int) -> Sequence[ChangeRecord]:
        """Oldest first."""
        ...

    async def untold(self, limit: int) -> Sequence[ChangeRecord]: ...

    async def decided_by_people(self, limit: int) -> Sequence[ChangeRecord]:
        """Those on which somebody decided, latest verdict first."""
        ...

    async def judged(self, limit: int, since: str) -> Sequence[ChangeRecord]:
        """The latest that rules judged, proposed at `since` or later; their documents are left out."""
        ...

    async def with_broken_glass(self, limit: int) -> Sequence[ChangeRecord]:
        """Approved in an emergency, and neither confirmed nor taken back yet."""
        ...

    async def earlier(self, record: ChangeRecord) -> Sequence[str]:
        """Ids of changes of the same pipeline that came before this one and are not judged yet, in their order."""
        ...

    async def held(self, limit: int) -> Sequence[ChangeRecord]:
        """Those that came during a freeze and are not told yet, as they came."""
        ...

    async def count_held(self) -> int: ...
    async def barring(self, digest: str) -> ChangeRecord | None:
        """A former veto that holds for this digest under any change id."""
        ...


class Revisions(Protocol):
    async def add(self, revision: RevisionRecord) -> RevisionRecord:
        """The stored revision of this digest: the given one, or the one that was there before."""
        ...

    async def get(self, digest: str) -> RevisionRecord | None: ...
    async def of_pipeline(self, pipeline: str) -> Sequence[RevisionRecord]: ...
    async def children(self, digests: Sequence[str]) -> Sequence[RevisionRecord]:
        """Revisions and templates made directly from any of `digests`."""
        ...

    async def quarantine(
        self, digest: str, *, cause: str, reason: str, at: str, author: str = "", cancel_running: bool = False
    ) -> None:
        """No run starts on it any more, even where no revision of this digest exists yet. Repeatable; the first cause stays.
        `cancel_running`: executors end the runs that are under way on it."""
        ...

    async def release(self, digest: str, attestation: Attestation) -> None:
        """Takes it out of quarantine under a new attestation. Repeatable."""
        ...

    async def is_quarantined(self, digest: str) -> bool: ...
    async def why_quarantined(self, digest: str) -> dict[str, Any] | None:
        """`{cause, reason, at, author, cancel_running}`."""
        ...

    async def signed_otherwise(self, key: str) -> Sequence[RevisionRecord]:
        """Approved revisions and templates whose attestation is not under this key."""
        ...

    async def reattest(self, digest: str, attestation: Attestation, *, from_key: str) -> bool:
        """False where it is not signed with `from_key` any more, or not approved."""
        ...


class Deployments(Protocol):
    async def get(self, pipeline: str) -> Deployment | None: ...
    async def create(self, deployment: Deployment) -> bool:
        """False where the name is taken."""
        ...

    async def swap(self, deployment: Deployment, *, from_generation: int) -> bool:
        """One compare-and-set: False where the deployment is not at `from_generation` any more."""
        ...

    async def all(self, limit: int) -> Sequence[Deployment]: ...
    async def fence(self, pipeline: str | None, domain: str | None) -> None:
        """Raises the generation of this pipeline's deployment, of all of this domain, or of all: who read one of them before loses
        its compare-and-set."""
        ...


class Freezes(Protocol):
    """What people keep as it is. `holding` says why something may not change now, None where it may."""

    async def read(self) -> FreezeBoard: ...
    async def swap(self, board: FreezeBoard, *, from_generation: int) -> bool:
        """One compare-and-set: False where the board is not at `from_generation` any more."""
        ...

    async def holding(self, pipeline: str, *domains: str) -> Freeze | None: ...


class Datasets(Protocol):
    async def get(self, dataset_id: str) -> Dataset | None: ...
    async def add(self, dataset: Dataset, cases: SplitCases) -> Dataset:
        """Stores the cases, the sealed ones in their own database, then the dataset. Returns the one stored under this id."""
        ...

    async def latest(self, domain: str | None, limit: int) -> Sequence[Dataset]:
        """Newest first."""
        ...

    async def cases(self, dataset_id: str, split: Split) -> tuple[Case, ...]: ...


class Allowances(Protocol):
    """Counted permissions, reserved before use and never overshot, however many reserve at once."""

    async def reserve(self, account: str, key: str, amount: Budget, limit: Budget) -> bool:
        """Counts `amount` on the account, once for each `key`, or nothing at all where any part of it would pass `limit`."""
        ...

    async def reserve_alpha(self, account: str, change_id: str, choose: Callable[[int, float], float]) -> float:
        """What the change may spend: `choose(looks before, spent before)`, counted once a change; 0 is not counted."""
        ...


class Budgets(Protocol):
    """Accounts of a UTC day. A reservation counts on all of its accounts or on none, and none passes its limit, however many
    reserve at once."""

    async def reserve(self, wanted: Reservation, limits: Mapping[str, Mapping[str, int]]) -> Shortage | None:
        """None: it is held, now or since it was asked for before. `limits`: account -> resource -> most. Raises
        `ReservationError`."""
        ...

    async def settle(self, day: str, reservation_id: str, used: Amounts, at: datetime) -> Reservation | None:
        """Replaces what is reserved by what was used, once; None where it was settled before, or never made."""
        ...

    async def count(self, report_id: str, day: str, used: Mapping[str, Amounts], at: datetime) -> bool:
        """Counts what was used without a reservation, by account; False where the report was counted before."""
        ...

    async def standings(self, day: str, accounts: Sequence[str] | None = None) -> list[Standing]:
        """Those of `accounts`, in their order, or all that were ever touched on the day."""
        ...

    async def reservations(self, since: str) -> list[Reservation]:
        """Open ones of the days from `since` on, oldest first."""
        ...

    async def announce(self, revision: str, bounds: Sequence[Mapping[str, Any]]) -> bool:
        """Tells executors what bounds production runs now; False where this policy revision told it before."""
        ...

    async def forget(self, day: str) -> None:
        """Of settled reservations only the latest are remembered."""
        ...


@dataclass(frozen=True)
class ScopeUse:
    """What executors counted under a sealed scope. Calls in flight count as they were reserved; their cost is not known."""

    used: Amounts
    open_calls: int = 0
    open_tokens: int = 0


@dataclass(frozen=True)
class LeaseUse:
    used: Amounts
    running: int
    """Runs under it that have not ended."""


class Sealing(Protocol):
    """What executors counted."""

    async def seal(self, scope_id: str) -> ScopeUse:
        """Lets nothing more happen under a scope that was closed here. Raises `UnavailableError` where no executor answers."""
        ...

    async def count_lease(self, lease_id: str) -> LeaseUse:
        """Raises `UnavailableError` where no executor answers."""
        ...


class Prices(Protocol):
    def dearest_usd(self, families: Sequence[str], models: Sequence[str]) -> float:
        """The most that a million tokens of these may cost, in US dollars. A model that is not listed costs as the dearest."""
        ...


class Scopes(Protocol):
    async def get(self, scope_id: str) -> ScopeRecord | None: ...
    async def add(self, query: GrantScope, granted: GrantedScope, day: str) -> ScopeRecord:
        """What is stored under the scope id: the given pair, or what was there before."""
        ...

    async def withdraw(self, scope_id: str, at: datetime) -> bool:
        """From now on the id is never given a scope. False where it has one."""
        ...

    async def close(self, scope_id: str, by: str, at: datetime) -> bool:
        """False where it was closed before."""
        ...


class Rollbacks(Protocol):
    async def open(self, record: RollbackRecord) -> RollbackRecord: ...
    async def save(self, record: RollbackRecord) -> None: ...
    async def get(self, rollback_id: str) -> RollbackRecord | None: ...
    async def latest(self, limit: int) -> Sequence[RollbackRecord]:
        """Newest first, refused ones left out."""
        ...


class Rollouts(Protocol):
    """Rollouts, and the outcomes that they count. What is counted is marked, so that nothing is counted twice."""

    async def open(self, record: RolloutRecord) -> RolloutRecord:
        """The stored record of this id: the given one, or the one that was there before."""
        ...

    async def get(self, rollout_id: str) -> RolloutRecord | None: ...
    async def save(self, record: RolloutRecord) -> RolloutRecord:
        """Writes the next version. Raises `LostRaceError` where the stored one is not the one that `record` came from."""
        ...

    async def latest(self, pipeline: str | None, *, unclosed_only: bool, limit: int) -> Sequence[RolloutRecord]:
        """Newest first."""
        ...

    async def note(self, observation: Observation) -> bool:
        """False where it was noted before."""
        ...

    async def uncounted(self, rollout_id: str, limit: int) -> Sequence[Observation]:
        """Noted and not marked, oldest first."""
        ...

    async def mark(self, ids: Sequence[str]) -> None:
        """Repeatable."""
        ...

    async def of_run(self, run_id: str) -> Sequence[Observation]: ...

    async def report(self, run_id: str, score: float) -> float:
        """The score that is kept for the run: the first one reported."""
        ...

    async def reported(self, run_id: str) -> float | None: ...


class Announcer(Protocol):
    async def announce(self, fact: Message, *, cause: str, effect: str) -> None:
        """The same cause and effect again is the same message."""
        ...


class AuditLog(Protocol):
    async def append(self, note: AuditNote, *, is_first: bool = False) -> AuditEntry:
        """Adds it at the end; the same key again is the same entry. `is_first`: the caller won the write that gives it the right to
        this key just now, so that no entry from before has to be sought. Raises `AuditLogUnsoundError`."""
        ...

    async def find(self, key: str) -> AuditEntry | None: ...
    async def entries(self) -> Sequence[AuditEntry]: ...
    async def check(self, heads: Sequence[TreeHead] = ()) -> tuple[str, ...]:
        """Recomputes the whole log and compares it with checkpoints. Faults close it for appending, until a later check."""
        ...

    @property
    def is_sound(self) -> bool:
        """False after a look that found faults."""
        ...

    def require_sound(self) -> None:
        """Raises `AuditLogUnsoundError` unless it is."""
        ...

    async def head(self) -> TreeHead:
        """Size and root now, recomputed from what is stored. Raises `AuditLogUnsoundError`."""
        ...

    async def page(self, after: int, limit: int) -> Sequence[dict[str, Any]]:
        """Entries as they are stored, by number from `after` + 1."""
        ...

    async def matching(self, filters: Mapping[str, Any], limit: int) -> Sequence[dict[str, Any]]:
        """Newest first."""
        ...

    async def nodes(self, wanted: Sequence[Node]) -> Mapping[Node, bytes]:
        """Raises `NotFoundError` where the log does not hold one."""
        ...

    async def count(self) -> int:
        """Documents in the log's collection, entries or not."""
        ...


class LateNotes(Protocol):
    """What was done while the log was closed."""

    async def keep(self, note: AuditNote, at: str) -> AuditNote:
        """The one that is kept under this key: the first."""
        ...

    async def find(self, key: str) -> AuditNote | None: ...
    async def all(self) -> Sequence[tuple[AuditNote, str]]:
        """With the moment since when each is kept, oldest first."""
        ...

    async def remove(self, key: str) -> None: ...


class Checkpoints(Protocol):
    """Signed checkpoints outside the store."""

    def latest(self) -> Checkpoint | None: ...
    def all(self) -> Sequence[Checkpoint]:
        """Oldest first."""
        ...

    def add(self, checkpoint: Checkpoint) -> None: ...


class Policies(Protocol):
    async def add(self, record: PolicyRecord) -> PolicyRecord:
        """The stored policy of this revision: the given one, or the one that was there before."""
        ...

    async def get(self, revision: str) -> PolicyRecord | None: ...
    async def latest(self, limit: int) -> Sequence[PolicyRecord]:
        """Newest first."""
        ...

    async def active(self) -> ActivePolicy | None: ...
    async def activate(self, active: ActivePolicy, *, from_generation: int) -> bool:
        """One compare-and-set: False where what is in force is not at `from_generation` any more; 0 stands for nothing yet."""
        ...


class Runs(Protocol):
    """The executor fleet."""

    async def run_all(
        self,
        commands: Sequence[ExecuteRun],
        *,
        max_in_flight: int,
        deadline_seconds: float,
        on_finished: Callable[[RunFinished], None] | None = None,
    ) -> dict[str, RunFinished]: ...


class Signer(Protocol):
    def sign(self, attestation: Attestation) -> Attestation: ...
    def check(self, attestation: Attestation, *, kind: str, digest: str) -> None:
        """Raises `NotAttestedError` unless it is one of ours for exactly this."""
        ...

    def sign_head(self, head: TreeHead) -> Checkpoint: ...
    def ring(self) -> Keys: ...


class Gauges(Protocol):
    """What the guardrail tells its monitoring."""

    def judged(self, kind: str, verdict: str, seconds: float) -> None:
        """`seconds` from the proposal to this verdict."""
        ...

    def rolled_back(self) -> None: ...
    def reviews_waiting(self, count: int) -> None: ...
    def audit_checked(self, *, size: int, faults: int) -> None:
        """`faults` of the last look at the log; not 0 closes it."""
        ...

    def audit_late(self, count: int) -> None:
        """Entries that wait for the log to be sound."""
        ...

    def checkpointed(self, moment: datetime) -> None:
        """When the newest checkpoint was signed, or confirmed as still covering the whole log."""
        ...

    def quarantined(self, revisions: int) -> None: ...
    def frozen(self, count: int) -> None:
        """Freezes that stand."""
        ...

    def changes_held(self, count: int) -> None: ...

    def budget_refused(self, kind: str) -> None: ...
    def budgets_stand(self, amounts: Mapping[tuple[str, str, str, str], float], shares: Mapping[tuple[str, str], float]) -> None:
        """Today's sums by (kind, service, resource, state), and the fullest account's share by (kind, service)."""
        ...

    def rollout_decided(self, decision: str) -> None: ...
    def rollouts_open(self, counts: Mapping[tuple[str, float], int]) -> None:
        """(state, share) -> how many rollouts that are not over."""
        ...


class Identities(Protocol):
    def current(self) -> Registry:
        """Who may sign now. Raises `UnavailableError` where nobody can say."""
        ...


class RegistryNotes(Protocol):
    async def last(self) -> RegistryNote | None: ...
    async def add(self, note: RegistryNote) -> None:
        """Raises `LostRaceError` where this number is taken."""
        ...


class Delegations(Protocol):
    async def open(self, record: Delegation) -> Delegation:
        """The stored one of this id: the given one, or the one that was there before."""
        ...

    async def get(self, delegation_id: str) -> Delegation | None: ...
    async def revoke(self, record: Delegation, at: str) -> Delegation: ...
    async def between(self, delegator: str, delegate: str) -> Sequence[Delegation]: ...
    async def latest(self, limit: int) -> Sequence[Delegation]:
        """Newest first, refused ones left out."""
        ...


class OversightGauges(Protocol):
    """What people do, as monitoring sees it."""

    def said(self, decision: str) -> None: ...
    def glass(self, outcome: str) -> None:
        """`broken`, `confirmed`, `rejected` or `lapsed`."""
        ...

    def glass_open(self, count: int) -> None: ...


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
