"""A run as it is ordered."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.events.message import Command, Part
from shared.events.runs.values import ForkOrigin, RunPurpose, ShadowOrigin
from shared.events.values import GrantedScope, Identifier, PipelineReference

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
