"""Runs: one command is one run, one fact ends it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.events.message import Command, Fact, Part, Query
from shared.events.values import GrantedScope, Identifier, PipelineReference, Usage

RunStatus = Literal["succeeded", "degraded", "failed", "refused", "cancelled"]
StepStatus = Literal["ok", "degraded", "skipped", "failed"]
RunPurpose = Literal["production", "trial", "evaluation", "gate", "measure", "meta", "shadow"]
RunArm = Literal["", "canary", "control", "outside"]
"""Of a rollout: `outside` runs the stable revision like `control`, but is not compared. Empty where nothing was assigned."""


ControlVerb = Literal["resume", "wake", "retry"]


class Continuation(Part):
    """Why an executor is to go on with a run that was begun before: part of `ExecuteRun`, made by the executors themselves."""

    generation: int = Field(ge=1)
    """Counts how often the run was set going again; one that was counted before is not done twice."""
    retries: int = Field(default=0, ge=0)
    """How often the run will have ended before."""
    verb: ControlVerb
    author: str = "anonymous"
    reason: str = ""


class ForkOrigin(Part):
    """Where a forked run comes from."""

    run_id: Identifier
    from_step: str
    """The first step that the fork executes itself."""
    author: str = "anonymous"
    reason: str = ""


class ShadowOrigin(Part):
    """The production run that a shadow run repeats on another revision, and how it ended."""

    run_id: Identifier
    rollout_id: Identifier
    status: RunStatus
    latency_seconds: float = 0.0
    cost_usd: float = 0.0
    most_runs: int = Field(default=0, ge=0)
    """Shadow runs that the rollout may have."""


class FaultPlan(Part):
    """Provider faults that an executor makes on purpose in one run: to see whether the pipeline survives them."""

    share: float = Field(default=0.3, gt=0, le=1)
    """Of the run's model calls, how many fail before they reach the provider. Which ones follows from the run's seed and case."""
    kinds: tuple[Literal["rate_limit", "overload", "timeout", "connection", "server"], ...] = Field(
        default=("rate_limit", "overload", "timeout", "connection"), min_length=1
    )
    place: str = Field(default="", max_length=64)
    """Of a nested run, within the outermost one; set by executors, so that runs beside each other do not all fail together."""


class ExecuteRun(Command):
    """Runs one pipeline on one input. Either `pipeline` (an attested revision) or `document` together with `scope` (a trial).

    `run_id` is the client's: the same id twice is one run. A finished run asked for again is answered with its `RunFinished`."""

    subject: ClassVar[str] = "cmd.executor.execute"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    inputs: dict[str, Any] = Field(default_factory=dict)
    pipeline: PipelineReference | None = None
    document: dict[str, Any] | None = None
    scope: GrantedScope | None = None
    purpose: RunPurpose = "production"
    tenant: Identifier = "default"
    parent_run_id: Identifier | None = None
    depth: int = Field(default=0, ge=0, le=10)
    ancestors: tuple[str, ...] = Field(default=(), max_length=10)
    """What the runs above this one execute, as digests without names; set by the parent. None of them may run again."""
    group_id: Identifier | None = None
    """What the run belongs to: a request, an evolution, a gate."""
    case_id: Identifier | None = None
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Makes answers that are cached or sampled repeatable; part of the answer cache's key."""
    deadline_at: str | None = None
    """RFC 3339; a run that did not start by then is refused."""
    limits: dict[str, float] = Field(default_factory=dict)
    """Bounds tighter than the document's own, by the limit's name; the parent of a nested run sets what is left to it."""
    pools: tuple[Identifier, ...] = Field(default=(), max_length=16)
    """What the run shares with others that go on at the same time: set by the parent of a nested run."""
    continuation: Continuation | None = None
    """Goes on with the run of this id instead of beginning one. Clients send `ResumeRun` or `RetryRun`."""
    forked_from: ForkOrigin | None = None
    """Clients send `ForkRun`."""
    unit_id: Identifier | None = None
    """User or session behind the run: it stays in one arm of a rollout. None: every run is its own unit."""
    shadow_of: ShadowOrigin | None = None
    """Of a run of purpose `shadow`, which executors make themselves."""
    faults: FaultPlan | None = None
    """Only of an evaluation under a trial scope; any other run with it is refused. Batches are not touched."""


class ModelUse(Part):
    """Calls that one step made to one model, those of failed attempts included."""

    family: str
    model: str
    """As it was asked for; where none was named, the one that served."""
    provider: str = ""
    served: str = ""
    """The model that really served, where a call was answered."""
    calls: int = Field(ge=1)
    successes: int = Field(default=0, ge=0)
    """Calls of an attempt that gave the answer asked for. A degraded answer is none."""
    usage: Usage = Usage()
    latency_seconds: float = 0.0
    """Of all calls together."""


class StepFact(Part):
    """What one executed step did; part of `RunFinished`."""

    name: str
    type: str
    position: str
    """Where it ran: `classify`, or `loop[3].classify` inside a loop."""
    status: StepStatus
    provider: str = ""
    model: str = ""
    """The model that really served the answer."""
    usage: Usage = Usage()
    latency_seconds: float = 0.0
    attempts: int = 1
    cache_hit: bool = False
    error: str = ""
    models: tuple[ModelUse, ...] = ()
    """Which models were called, and how they did."""


class RunStarted(Fact):
    """Published once, when the run is first claimed."""

    subject: ClassVar[str] = "evt.run.started"
    owner: ClassVar[str] = "executor"

    run_id: str
    pipeline: str
    digest: str
    purpose: RunPurpose
    group_id: str | None = None
    case_id: str | None = None
    executor_id: str
    arm: RunArm = ""
    rollout_id: str | None = None


class RunFinished(Fact):
    """The end of a run, with all step facts batched in. `degraded` is not success."""

    subject: ClassVar[str] = "evt.run.finished"
    owner: ClassVar[str] = "executor"

    run_id: str
    pipeline: str
    digest: str
    domain: str
    purpose: RunPurpose
    status: RunStatus
    outputs: Any = None
    error: str = ""
    error_code: str = ""
    """`code` of the error class in `shared.errors`; `limit_reached:<limit>` for limits."""
    usage: Usage = Usage()
    latency_seconds: float = 0.0
    """From the claim to the end, waiting for a new owner included."""
    queued_seconds: float = 0.0
    resumed: int = 0
    """How often another owner took the run over."""
    retries: int = 0
    """How often the run had ended before and was retried. `usage` and `steps` are those since."""
    forked_from: ForkOrigin | None = None
    steps_executed: int = 0
    """Those of nested runs included."""
    steps: tuple[StepFact, ...] = ()
    steps_left_out: int = 0
    """Steps that the message had no room for; the journal has them all."""
    replayed: bool = False
    """Some model call of it was answered from a cassette: times and costs are those of another day."""
    faulted: bool = False
    """Its provider failed on purpose (`ExecuteRun.faults`): nothing of it is counted as a measurement of models or pipelines."""
    group_id: str | None = None
    case_id: str | None = None
    scope_id: str | None = None
    parent_run_id: str | None = None
    tenant: str = "default"
    executor_id: str = ""
    started_at: str = ""
    finished_at: str = ""
    arm: RunArm = ""
    """In which the run was when it began; a retry keeps it."""
    rollout_id: str | None = None
    unit_id: str | None = None
    """User or session behind the run, as it was given: runs of one unit are no independent observations."""
    shadow_of: ShadowOrigin | None = None

    @property
    def end_id(self) -> str:
        """A retried run has several ends; each counts once."""
        return f"{self.run_id}/{self.retries}" if self.retries else self.run_id


class CancelRun(Command):
    """Stops a run; in-flight provider calls are aborted. A finished run stays as it is."""

    subject: ClassVar[str] = "cmd.executor.cancel"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class PauseRun(Command):
    """Suspends a run before its next step; a step that takes long is cut off and executed again later. A run that did not start
    yet is paused when it does."""

    subject: ClassVar[str] = "cmd.executor.pause"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class ResumeRun(Command):
    """Goes on with a paused run, or at once with one that waits. Refused for any other."""

    subject: ClassVar[str] = "cmd.executor.resume"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class RetryRun(Command):
    """Goes on with a run that ended without success, from the step that failed; finished steps are kept. Its time starts anew,
    what it used before counts. Refused for a run that goes on or succeeded."""

    subject: ClassVar[str] = "cmd.executor.retry"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class ForkRun(Command):
    """A new run that takes over what another one finished before `from_step`, perhaps on other inputs or another revision.

    Refused where a step that would be taken over is another one in that revision."""

    subject: ClassVar[str] = "cmd.executor.fork"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    """The run that is forked."""
    new_run_id: Identifier
    from_step: str = Field(default="", max_length=63)
    """Name of a top-level step; empty: the first one that did not finish."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Replace inputs of the same name."""
    pipeline: PipelineReference | None = None
    """Another revision, as `NAME@DIGEST`; None keeps the one that was run."""
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class RunSuspended(Fact):
    """A run gave its place away without an end: `paused` until somebody resumes it, `waiting` until a moment."""

    subject: ClassVar[str] = "evt.run.suspended"
    owner: ClassVar[str] = "executor"

    run_id: str
    pipeline: str
    digest: str
    status: Literal["paused", "waiting"]
    until: str | None = None
    """RFC 3339, of a waiting run."""
    reason: str = ""
    generation: int = 0


class GetRun(Query):
    """Answer: the run document with its journal: `{run_id, status, pipeline, digest, inputs, outputs, steps: [...], ...}`.

    Of `steps_total` steps as many are told as fit; who wants more asks again with `steps_from`. Large values are references, or
    `left_out`."""

    subject: ClassVar[str] = "api.executor.get_run"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    steps_from: int = Field(default=0, ge=0)
    """Steps that the asker knows already."""


class FinishedRuns(Query):
    """Answer: `{runs: [RunFinished, ...]}` for those of `run_ids` that have ended; the others are left out."""

    subject: ClassVar[str] = "api.executor.finished_runs"
    owner: ClassVar[str] = "executor"

    run_ids: tuple[Identifier, ...] = Field(min_length=1, max_length=500)


class ListRuns(Query):
    """Answer: `{runs: [{run_id, pipeline, digest, purpose, status, latency_seconds, started_at, ...}]}` newest first."""

    subject: ClassVar[str] = "api.executor.list_runs"
    owner: ClassVar[str] = "executor"

    pipeline: str | None = None
    status: str | None = None
    purpose: RunPurpose | None = "production"
    """None lists all purposes."""
    imported: bool | None = None
    """True lists only runs that were imported, False only others."""
    limit: int = Field(default=20, ge=1, le=500)
