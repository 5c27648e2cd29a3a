"""Runs: one command is one run, one fact ends it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.events.message import Command, Fact, Part, Query
from shared.events.values import GrantedScope, Identifier, PipelineReference, Usage

RunStatus = Literal["succeeded", "degraded", "failed", "refused", "cancelled"]
StepStatus = Literal["ok", "degraded", "skipped", "failed"]
RunPurpose = Literal["production", "trial", "evaluation", "gate", "measure", "meta"]


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
    group_id: Identifier | None = None
    """What the run belongs to: a request, an evolution, a gate."""
    case_id: Identifier | None = None
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Makes answers that are cached or sampled repeatable; part of the answer cache's key."""
    deadline_at: str | None = None
    """RFC 3339; a run that did not start by then is refused."""
    limits: dict[str, float] = Field(default_factory=dict)
    """Bounds tighter than the document's own, by the limit's name; the parent of a nested run sets what is left to it."""


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
    steps: tuple[StepFact, ...] = ()
    group_id: str | None = None
    case_id: str | None = None
    scope_id: str | None = None
    parent_run_id: str | None = None
    tenant: str = "default"
    executor_id: str = ""
    started_at: str = ""
    finished_at: str = ""


class CancelRun(Command):
    """Stops a run; in-flight provider calls are aborted. A finished run stays as it is."""

    subject: ClassVar[str] = "cmd.executor.cancel"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class GetRun(Query):
    """Answer: the run document with its journal: `{run_id, status, pipeline, digest, inputs, outputs, steps: [...], ...}`."""

    subject: ClassVar[str] = "api.executor.get_run"
    owner: ClassVar[str] = "executor"

    run_id: Identifier


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
    limit: int = Field(default=20, ge=1, le=500)
