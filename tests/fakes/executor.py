"""An executor on in-memory stores: the real adapters on `InMemoryDatabase`, fakes only for what is behind the bus."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.executor.adapters.guardrail_store import MongoClosedScopes, MongoQuotaRules, MongoRevisions
from services.executor.adapters.leased_runs import MongoLeasedRuns
from services.executor.adapters.model_records import AnalyticsModelRecords
from services.executor.adapters.mongo_pools import MongoPools
from services.executor.adapters.mongo_runs import MongoJournal, MongoRunStore
from services.executor.adapters.mongo_values import MongoAnswerCache, MongoConversations, MongoScopeLedger, MongoStops
from services.executor.adapters.standing import MongoStanding
from services.executor.domain.delivery import CommandDelivery
from services.executor.domain.limits.listed import LimitList
from services.executor.engine import StepServices
from services.executor.engine.batches import ProviderBatches
from services.executor.engine.children import ChildRuns, IsHeld, IsOver, Outside
from services.executor.engine.completions import Completions
from services.executor.engine.functions import FunctionDesk
from services.executor.engine.generated import TrialScopes
from services.executor.engine.services import Breakers
from services.executor.ports import Allowance, Computations, SharedStates
from services.executor.use_cases import (
    Admission,
    DocumentLibrary,
    Executor,
    GuardedStops,
    PollingCancelWatch,
    ProductionQuotas,
    ScopeSealing,
    execute_run,
    run_child,
)
from shared.attestation import Grants, Verifier, public_pem, scope_digest, sign
from shared.clock import Clock, SystemClock
from shared.events.changes import GrantScope, ProposeChange
from shared.events.message import Fact, Query, derive_id
from shared.events.runs import ExecuteRun, RunFinished, RunStarted
from shared.events.values import Attestation, Budget, GrantedScope, TrialScope
from shared.large_values import Blobs, LargeValues
from shared.pipeline.completion import Family, LanguageModel
from shared.pipeline.functions import compute, function_catalogue
from shared.pipeline.loading import load_document
from shared.pipeline.steps import step_type, type_names
from shared.storage import Database
from tests.fakes.blobs import InMemoryBlobs
from tests.fakes.language_model import ScriptedModel
from tests.fakes.states import InMemoryStates, permits_of
from tests.fakes.storage import InMemoryDatabase

Facts = list[tuple[str, Fact]]


def new_id() -> str:
    """Of a message that was not sent before."""
    return uuid.uuid4().hex


class SilentRunObserver:
    def claimed(self, purpose: str, queued_seconds: float) -> None: ...
    def taken_over(self) -> None: ...
    def finished(self, purpose: str, status: str, seconds: float) -> None: ...
    def step(self, step_type: str, status: str, seconds: float) -> None: ...


@dataclass
class RecordingAnnouncer:
    """Facts under the ids that the bus would give them."""

    facts: Facts = field(default_factory=list)

    async def announce(self, fact: Fact, *, cause: str, effect: str) -> None:
        self.facts.append((derive_id(cause, effect), fact))

    def of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for _, fact in self.facts if isinstance(fact, kind)]


@dataclass
class RecordingShadows:
    started: dict[str, ExecuteRun] = field(default_factory=dict)

    async def start(self, command: ExecuteRun) -> None:
        self.started.setdefault(command.run_id, command)


@dataclass
class RecordingTimers:
    """Commands that the broker would publish, by key."""

    set: dict[str, tuple[ExecuteRun, datetime]] = field(default_factory=dict)

    async def publish_at(self, command: ExecuteRun, moment: datetime, *, key: str) -> None:
        self.set[key] = (command, moment)


@dataclass
class ScriptedBusChildren:
    """Ends nested runs as `ends` says, or has them run by `runs`; without either they never end."""

    ends: Callable[[ExecuteRun], RunFinished] | None = None
    runs: Callable[[ExecuteRun], Awaitable[RunFinished | None]] | None = None
    commands: list[ExecuteRun] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    async def run_all(
        self, commands: Sequence[ExecuteRun], *, max_in_flight: int, deadline_seconds: float
    ) -> dict[str, RunFinished]:
        self.commands.extend(commands)
        if self.runs is not None:
            places = asyncio.Semaphore(max_in_flight)
            ends = await asyncio.gather(*(self._run(command, places) for command in commands))
            return {end.run_id: end for end in ends if end is not None}
        if self.ends is None:
            await asyncio.sleep(deadline_seconds)
            return {}
        return {command.run_id: self.ends(command) for command in commands}

    async def _run(self, command: ExecuteRun, places: asyncio.Semaphore) -> RunFinished | None:
        assert self.runs is not None
        async with places:
            # Another executor runs it, whatever becomes of this one.
            return await asyncio.shield(asyncio.ensure_future(self.runs(command)))

    async def cancel(self, runs: Mapping[str, int], reason: str) -> None:
        self.cancelled.extend(runs)


@dataclass
class ScriptedQuestions:
    answers: dict[type[Query], Any] = field(default_factory=dict)
    asked: list[Query] = field(default_factory=list)

    async def ask(self, query: Query) -> dict[str, Any]:
        self.asked.append(query)
        answer = self.answers.get(type(query), {})
        if isinstance(answer, Exception):
            raise answer
        return dict(answer(query) if callable(answer) else answer)


@dataclass
class InProcessComputations:
    """Computes at once and here; `allowances` is what was granted to each call."""

    allowances: list[Allowance] = field(default_factory=list)

    async def compute(self, name: str, arguments: Mapping[str, Any], allowance: Allowance) -> Any:
        self.allowances.append(allowance)
        return compute(name, arguments)


@dataclass
class ScriptedProposals:
    decision: str = "approved"
    changes: list[ProposeChange] = field(default_factory=list)

    async def propose(self, change: ProposeChange, wait_seconds: float) -> dict[str, Any]:
        self.changes.append(change)
        return {"change_id": change.change_id, "decision": self.decision, "rollout_id": None, "reasons": []}


@dataclass
class Notary:
    """Approves what tests want approved, as the guardrail would."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    now: Callable[[], datetime] = SystemClock().now

    @property
    def verifier(self) -> Verifier:
        return Verifier(public_pem(self.key.public_key()))

    def attest(self, kind: str, digest: str, scope: str, *, days: float = 1.0, key: Ed25519PrivateKey | None = None) -> Attestation:
        now = self.now()
        unsigned = Attestation(
            kind=kind,
            digest=digest,
            scope=scope,
            domain="general",
            policy_revision="test",
            issued_at=now.isoformat(),
            expires_at=(now + timedelta(days=days)).isoformat(),
            key_id="",
        )
        return sign(key or self.key, unsigned)

    def grant(self, *, budget: Budget | None = None, minutes: float = 10.0, **changes: Any) -> GrantedScope:
        """A scope over everything, unless `changes` narrow it."""
        fields: dict[str, Any] = {
            "scope_id": "scope-1",
            "purpose": "generation",
            "holder": "test",
            "domain": "general",
            "step_types": type_names(),
            "providers": ("claude", "gemini"),
            "functions": tuple(function_catalogue()),
            "budget": budget or Budget(runs=1000, calls=1000, tokens=1_000_000, cost_usd=1.0),
            "expires_at": (self.now() + timedelta(minutes=minutes)).isoformat(),
        }
        scope = TrialScope(**{**fields, **changes})
        return GrantedScope(scope=scope, attestation=self.attest("scope", scope_digest(scope), scope.purpose))

    def granted(self, wish: GrantScope, **changes: Any) -> GrantedScope:
        """What is wished for, unless `changes` make it another."""
        names = ("scope_id", "purpose", "holder", "domain", "budget")
        return self.grant(**{**{name: getattr(wish, name) for name in names}, **changes})

    async def deploy(self, database: Database, source: Mapping[str, Any] | str, **changes: Any) -> str:
        """Stores an approved revision in the guardrail's shape and makes it stable; returns its digest."""
        document = load_document(source)
        revision = {
            "_id": document.digest,
            "pipeline": document.name,
            "domain": document.domain,
            "document": document.canonical(),
            "attestation": self.attest("revision", document.digest, document.name).model_dump(mode="json"),
            "status": "approved",
            **changes,
        }
        await database.collection("revisions").put(revision)
        deployment: dict[str, Any] = {
            "_id": document.name,
            "stable": document.digest,
            "canary": None,
            "previous": [],
            "generation": 1,
        }
        await database.collection("deployments").put(deployment)
        return document.digest


@dataclass
class ExecutorKit:
    """One executor; several over the same databases compete like processes do."""

    database: Database = field(default_factory=InMemoryDatabase)
    guardrail: Database = field(default_factory=InMemoryDatabase)
    notary: Notary = field(default_factory=Notary)
    model: LanguageModel = field(default_factory=ScriptedModel)
    announcer: RecordingAnnouncer = field(default_factory=RecordingAnnouncer)
    shadows: RecordingShadows = field(default_factory=RecordingShadows)
    bus: ScriptedBusChildren = field(default_factory=ScriptedBusChildren)
    questions: ScriptedQuestions = field(default_factory=ScriptedQuestions)
    proposals: ScriptedProposals = field(default_factory=ScriptedProposals)
    timers: RecordingTimers = field(default_factory=RecordingTimers)
    computations: Computations = field(default_factory=InProcessComputations)
    blobs: Blobs = field(default_factory=InMemoryBlobs)
    name: str = "executor-1"
    slots: int = 1
    pause_grace_seconds: float = 5.0
    park_after_seconds: float = 15.0
    sequence: int = 0
    clock: Clock = field(default_factory=SystemClock)
    limits: LimitList = field(default_factory=LimitList)
    states: SharedStates = field(default_factory=InMemoryStates)

    def __post_init__(self) -> None:
        clock = self.clock
        self.permits = permits_of(self.states, clock, self.limits, self.name)
        self.runs = MongoRunStore(self.database)
        self.journal = MongoJournal(self.database, clock, self.blobs)
        self.stops = MongoStops(self.database, clock)
        ledger = MongoScopeLedger(self.database, clock)
        models: dict[Family, LanguageModel] = {"claude": self.model, "gemini": self.model}
        completions = Completions(models, MongoAnswerCache(self.database, clock), ledger, clock, self.permits)
        services = StepServices(
            clock=clock,
            step_type=step_type,
            completions=completions,
            batches=ProviderBatches(models, completions, clock),
            functions=FunctionDesk(self.questions, self.computations),
            children=self._children(),
            conversations=MongoConversations(self.database, clock),
            proposals=self.proposals,
            model_records=AnalyticsModelRecords(self.questions, clock, {}),
            breakers=Breakers(clock),
            observer=SilentRunObserver(),
            workspace_dir=Path(tempfile.gettempdir()) / "evoline-test-workspaces" / str(os.getpid()),
            park_after_seconds=self.park_after_seconds,
        )
        revisions, standing = MongoRevisions(self.guardrail), MongoStanding(self.guardrail)
        rules, leased = MongoQuotaRules(self.guardrail), MongoLeasedRuns(self.database)
        self.quotas = ProductionQuotas(rules, self.questions, leased, clock, f"executor:{self.name}")
        self.executor = Executor(
            executor_id=self.name,
            runs=self.runs,
            journal=self.journal,
            admission=Admission(lambda: self.notary.verifier, revisions, standing, ledger, DocumentLibrary(), clock),
            sealing=ScopeSealing(MongoClosedScopes(self.guardrail), ledger),
            quotas=self.quotas,
            services=services,
            watch=PollingCancelWatch(GuardedStops(self.stops, standing), clock, 0.02, pause_grace_seconds=self.pause_grace_seconds),
            stops=self.stops,
            timers=self.timers,
            values=LargeValues(self.blobs),
            pools=MongoPools(self.database, clock),
            announcer=self.announcer,
            shadows=self.shadows,
            observer=SilentRunObserver(),
            clock=clock,
        )

    async def trial(self, source: Mapping[str, Any], **command: Any) -> RunFinished:
        """Runs a document under a wide scope and returns its end."""
        granted = {"run_id": "run-1", "purpose": "trial", "scope": self.notary.grant(), **command}
        return await self.execute(ExecuteRun(document=dict(source), **granted))

    async def execute(self, command: ExecuteRun, *, sequence: int | None = None, attempt: int = 1) -> RunFinished:
        finished = await self.deliver(command, sequence=sequence, attempt=attempt)
        assert finished is not None, "another command holds the run"
        return finished

    async def deliver(self, command: ExecuteRun, *, sequence: int | None = None, attempt: int = 1) -> RunFinished | None:
        """One delivery of a command; a new stream sequence unless one is given."""
        self.sequence += 1
        delivery = CommandDelivery(sequence=self.sequence if sequence is None else sequence, attempt=attempt)
        return await execute_run(command, delivery, self.executor)

    def ends(self) -> list[RunFinished]:
        return [fact for fact in self.announcer.of(RunFinished) if isinstance(fact, RunFinished)]

    def starts(self) -> list[RunStarted]:
        return [fact for fact in self.announcer.of(RunStarted) if isinstance(fact, RunStarted)]

    def _children(self) -> ChildRuns:
        scopes = TrialScopes(self.questions, Grants(lambda: self.notary.verifier, self.clock), self.clock)
        outside = Outside(self.bus, LargeValues(self.blobs), scopes)
        return ChildRuns(self.runs, outside, self._run_locally, self.clock, slots=self.slots)

    async def _run_locally(self, command: ExecuteRun, outer_is_over: IsOver, is_held: IsHeld) -> RunFinished:
        return await run_child(command, outer_is_over, is_held, self.executor)
