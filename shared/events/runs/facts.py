"""What is told of runs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.events.message import Fact, Part
from shared.events.runs.values import ForkOrigin, RunArm, RunPurpose, RunStatus, ShadowOrigin, StepStatus
from shared.events.values import Usage


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
