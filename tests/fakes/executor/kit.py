"""One executor, wired as its composition root does."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from services.executor.ports import Computations, SharedStates
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
from shared.attestation import Grants
from shared.clock import Clock, SystemClock
from shared.events.runs import ExecuteRun, RunFinished, RunStarted
from shared.large_values import Blobs, LargeValues
from shared.pipeline.completion import Family, LanguageModel
from shared.pipeline.steps import step_type
from shared.storage import Database
from tests.fakes.blobs import InMemoryBlobs
from tests.fakes.executor.notary import Notary
from tests.fakes.executor.recording import RecordingAnnouncer, RecordingShadows, RecordingTimers, SilentRunObserver
from tests.fakes.executor.scripted import InProcessComputations, ScriptedBusChildren, ScriptedProposals, ScriptedQuestions
from tests.fakes.language_model import ScriptedModel
from tests.fakes.states import InMemoryStates, permits_of
from tests.fakes.storage import InMemoryDatabase


def new_id() -> str:
    """Of a message that was not sent before."""
    return uuid.uuid4().hex


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
