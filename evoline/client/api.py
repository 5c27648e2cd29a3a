"""The client: one method a verb of the system. Each publishes a command, shows progress as facts, returns the fact that ends it."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from evoline.client.control import hold_of_known
from evoline.client.outputs import with_outputs
from evoline.client.reviews import Reviews, Said
from evoline.client.talk import OnFact, Talk, hold, ignore
from shared.errors import InvalidInputError
from shared.events import Command, Fact, Query
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished, GetChange
from shared.events.datasets import DatasetRefused, DatasetRegistered, MeasurePipelines, PipelinesMeasured, RegisterDataset
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackPipeline, RollbackRefused
from shared.events.generation import (
    GeneratePipeline,
    GetRequest,
    RequestAccepted,
    RequestFinished,
    RequestProgressed,
    RequestRejected,
)
from shared.events.improvement import (
    EvolutionFinished,
    EvolutionProgressed,
    GetEvolution,
    LearnFromRuns,
    PatternsMined,
    StartEvolution,
    TemplateLearned,
)
from shared.events.message import derive_id
from shared.events.oversight import ChangesRequested
from shared.events.runs import CancelRun, ExecuteRun, FinishedRuns, RunFinished, RunStarted, RunSuspended
from shared.large_values import LargeValues
from shared.messaging.blobs import ObjectStoreBlobs
from shared.messaging.bus import Bus

F = TypeVar("F", bound=Fact)
C = TypeVar("C", bound=Command)
REQUEST_PROGRESS = (RequestAccepted, RequestProgressed, RunFinished, ChangeQueued, ChangeApproved, ChangeVetoed)
EVOLUTION_PROGRESS = (EvolutionProgressed, RunFinished, GateFinished, ChangeQueued, ChangeApproved, ChangeVetoed, PipelineDeployed)


def new_id(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:12]}"


class Client:
    """`author` is who asks: changes and reviews carry it.

    Every method raises InvalidInputError where the command is refused, with all problems, and UnavailableError where no end
    is told in time; `on_fact` gets the facts of the progress and the end, in order."""

    def __init__(self, bus: Bus, *, author: str = "anonymous") -> None:
        self.bus = bus
        self.values = LargeValues(ObjectStoreBlobs(bus))
        self.author = author

    async def ask(self, query: Query, timeout_seconds: float = 5.0) -> dict[str, Any]:
        """Raises the typed error of the service that answers, as NotFoundError."""
        return await self.bus.ask(query, timeout_seconds)

    async def generate(
        self, request: GeneratePipeline, *, on_fact: OnFact = ignore, timeout_seconds: float | None = None
    ) -> RequestFinished:
        """Ends with the first verdict: approved, queued for people, vetoed, or no candidate."""
        seconds = timeout_seconds or request.constraints.generation_seconds + 90
        return await self._request(request.request_id, seconds, on_fact, request)

    async def wait_for_request(self, request_id: str, *, on_fact: OnFact = ignore, timeout_seconds: float = 300) -> RequestFinished:
        return await self._request(request_id, timeout_seconds, on_fact, None)

    async def register_dataset(self, command: RegisterDataset, *, timeout_seconds: float = 30) -> DatasetRegistered:
        """The same cases under the same id again are no error."""
        command = self._own(command)
        fact = await self._hold(
            Talk(
                key=command.dataset_id,
                command=command,
                ends=(DatasetRegistered, DatasetRefused),
                belongs=lambda fact: getattr(fact, "dataset_id", "") == command.dataset_id,
                timeout_seconds=timeout_seconds,
            )
        )
        return _expect(fact, DatasetRegistered)

    async def run(
        self, pipeline: str, inputs: Mapping[str, Any], *, on_fact: OnFact = ignore, timeout_seconds: float = 330
    ) -> RunFinished:
        """One production run; a failed or refused one is an answer, not an error."""
        command = ExecuteRun(run_id=new_id("run"), pipeline=pipeline, inputs=dict(inputs))
        return await self.execute(command, on_fact=on_fact, timeout_seconds=timeout_seconds)

    async def execute(self, command: ExecuteRun, *, on_fact: OnFact = ignore, timeout_seconds: float = 330) -> RunFinished:
        return await self._run(command.run_id, timeout_seconds, on_fact, command)

    async def wait_for_run(self, run_id: str, *, on_fact: OnFact = ignore, timeout_seconds: float = 330) -> RunFinished:
        return await self._run(run_id, timeout_seconds, on_fact, None)

    async def cancel(self, run_id: str, reason: str = "", *, timeout_seconds: float = 30) -> RunFinished:
        """Raises NotFoundError where nobody knows the run; should it start all the same, it is stopped then."""
        command = CancelRun(run_id=run_id, author=self.author, reason=reason)
        talking = hold_of_known(self.bus, lambda seconds: _run_talk(run_id, seconds, command, self._recall_run), timeout_seconds)
        return await with_outputs(_expect(await talking, RunFinished), self.values)

    async def wait_for_change(
        self, change_id: str, *, on_fact: OnFact = ignore, timeout_seconds: float = 300
    ) -> ChangeApproved | ChangeVetoed | ChangesRequested:
        """People's or the policy's last word; a queued change goes on waiting."""
        talk = Talk(
            key=change_id,
            ends=(ChangeApproved, ChangeVetoed, ChangesRequested),
            progress=(ChangeQueued, GateFinished),
            belongs=lambda fact: getattr(fact, "change_id", "") == change_id,
            timeout_seconds=timeout_seconds,
            look_later=f"evoline show change {change_id}",
        )
        await self.ask(GetChange(change_id=change_id))
        return cast("ChangeApproved | ChangeVetoed | ChangesRequested", await self._hold(talk, on_fact))

    async def review(self, change_id: str, decision: str, *, timeout_seconds: float = 60, **wish: Any) -> Said:
        """See `Reviews.decide`: ReviewRecorded where more people must agree."""
        return await Reviews(self.bus, author=self.author).decide(change_id, decision, timeout_seconds=timeout_seconds, **wish)

    async def rollback(
        self,
        pipeline: str,
        reason: str,
        *,
        to_digest: str | None = None,
        cancel_running: bool = False,
        timeout_seconds: float = 30,
    ) -> PipelineRolledBack:
        command = RollbackPipeline(
            rollback_id=new_id("rollback"),
            pipeline=pipeline,
            to_digest=to_digest,
            reason=reason,
            author=self.author,
            cancel_running=cancel_running,
        )
        fact = await self._hold(
            Talk(
                key=command.rollback_id,
                command=command,
                ends=(PipelineRolledBack, RollbackRefused),
                belongs=lambda fact: getattr(fact, "rollback_id", "") == command.rollback_id,
                timeout_seconds=timeout_seconds,
            )
        )
        return _expect(fact, PipelineRolledBack)

    async def measure(
        self, command: MeasurePipelines, *, on_fact: OnFact = ignore, timeout_seconds: float = 600
    ) -> PipelinesMeasured:
        """Scores on sealed cases. Raises InvalidInputError where nothing could be measured."""
        command = self._own(command)
        talk = Talk(
            key=command.measure_id,
            command=command,
            ends=(PipelinesMeasured,),
            progress=(RunFinished,),
            belongs=lambda fact: command.measure_id in (getattr(fact, "measure_id", ""), getattr(fact, "group_id", "")),
            timeout_seconds=timeout_seconds,
        )
        fact = _expect(await self._hold(talk, on_fact), PipelinesMeasured)
        if fact.problems:
            raise InvalidInputError(fact.problems)
        return fact

    async def evolve(
        self, command: StartEvolution, *, on_fact: OnFact = ignore, timeout_seconds: float | None = None
    ) -> EvolutionFinished:
        """Ends with the gate's or the policy's verdict."""
        return await self._evolution(command.evolution_id, timeout_seconds or command.seconds + 300, on_fact, command)

    async def wait_for_evolution(
        self, evolution_id: str, *, on_fact: OnFact = ignore, timeout_seconds: float = 900
    ) -> EvolutionFinished:
        return await self._evolution(evolution_id, timeout_seconds, on_fact, None)

    async def learn(self, domain: str | None = None, *, on_fact: OnFact = ignore, timeout_seconds: float = 120) -> PatternsMined:
        """Ends when the patterns are counted; a template that they led to becomes known as TemplateLearned later."""
        command = LearnFromRuns(learning_id=new_id("learning"), domain=domain, author=self.author)
        talk = Talk(
            key=command.learning_id,
            command=command,
            ends=(PatternsMined,),
            progress=(TemplateLearned,),
            belongs=lambda fact: isinstance(fact, TemplateLearned) or getattr(fact, "learning_id", "") == command.learning_id,
            timeout_seconds=timeout_seconds,
        )
        return _expect(await self._hold(talk, on_fact), PatternsMined)

    def _own(self, command: C) -> C:
        """In this client's name where it names nobody."""
        return command.model_copy(update={"author": self.author}) if getattr(command, "author", "") == "anonymous" else command

    async def _hold(self, talk: Talk, on_fact: OnFact = ignore) -> Fact:
        return await hold(self.bus, talk, on_fact)

    async def _request(self, request_id: str, seconds: float, on_fact: OnFact, command: GeneratePipeline | None) -> RequestFinished:
        talk = Talk(
            key=request_id,
            command=command,
            ends=(RequestFinished, RequestRejected),
            progress=REQUEST_PROGRESS,
            belongs=lambda fact: request_id in (getattr(fact, "request_id", ""), getattr(fact, "group_id", "")),
            recall=lambda: self._recall_answer(GetRequest(request_id=request_id), RequestFinished),
            timeout_seconds=seconds,
            look_later=f"evoline show request {request_id}",
        )
        return _expect(await self._hold(talk, on_fact), RequestFinished)

    async def _evolution(
        self, evolution_id: str, seconds: float, on_fact: OnFact, command: StartEvolution | None
    ) -> EvolutionFinished:
        own = {evolution_id, derive_id(evolution_id, "promotion")}  # runs of the gate are those of the change
        talk = Talk(
            key=evolution_id,
            command=command,
            ends=(EvolutionFinished,),
            progress=EVOLUTION_PROGRESS,
            belongs=lambda fact: not own.isdisjoint((getattr(fact, "evolution_id", ""), getattr(fact, "group_id", ""))),
            recall=lambda: self._recall_answer(GetEvolution(evolution_id=evolution_id), EvolutionFinished),
            timeout_seconds=seconds,
            look_later=f"evoline show evolution {evolution_id}",
        )
        return _expect(await self._hold(talk, on_fact), EvolutionFinished)

    async def _run(self, run_id: str, seconds: float, on_fact: OnFact, command: ExecuteRun | None) -> RunFinished:
        if command is not None:
            command = command.model_copy(update={"inputs": await self.values.pack(command.inputs)})
        run = _expect(await self._hold(_run_talk(run_id, seconds, command, self._recall_run), on_fact), RunFinished)
        return await with_outputs(run, self.values)

    async def _recall_run(self, run_id: str) -> RunFinished | None:
        rows = (await self.ask(FinishedRuns(run_ids=(run_id,))))["runs"]
        return RunFinished.model_validate(rows[0]) if rows else None

    async def _recall_answer(self, query: Query, end: type[F]) -> Fact | None:
        """What the owner's record keeps as its last word; None while there is none."""
        record = await self.ask(query)
        answer = record.get("answer")
        if record.get("status") == "rejected":
            problems = (answer or record).get("problems") or [{"reason": "the request was rejected"}]
            return RequestRejected(request_id=str(record.get("request_id", "")), problems=problems)
        return end.model_validate(answer) if answer else None


def _run_talk(
    run_id: str,
    seconds: float,
    command: ExecuteRun | CancelRun | None,
    recall: Callable[[str], Awaitable[RunFinished | None]],
) -> Talk:
    return Talk(
        key=run_id,
        command=command,
        ends=(RunFinished,),
        progress=(RunStarted, RunSuspended),
        belongs=lambda fact: getattr(fact, "run_id", "") == run_id,
        recall=lambda: recall(run_id),
        timeout_seconds=seconds,
        look_later=f"evoline show run {run_id}",
    )


def _refuse(fact: Fact) -> Fact:
    """Raises InvalidInputError for a fact that says no to the command."""
    if isinstance(fact, (DatasetRefused, RequestRejected)):
        raise InvalidInputError(fact.problems or "refused without a reason")
    if isinstance(fact, RollbackRefused):
        raise InvalidInputError(fact.reason)
    return fact


def _expect(fact: Fact, wanted: type[F]) -> F:
    fact = _refuse(fact)
    assert isinstance(fact, wanted), f"{type(fact).__name__} ended what {wanted.__name__} should"
    return fact
