"""Rollouts: a revision serves a growing share of runs while it is compared with the stable one, and is taken back at once."""

from __future__ import annotations

import itertools
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from shared.events.message import Command, Fact, Part, Query, Value
from shared.events.values import Identifier, PipelineName

RolloutState = Literal["ready", "running", "paused", "completed", "rolled_back", "aborted"]
RolloutVerb = Literal["pause", "resume", "approve_step", "abort", "complete_now"]
SHADOW = 0.0
"""Share of a step on which the canary serves nobody."""
WHOLE = 1.0


class RolloutStep(Value):
    """The canary stays here until every gate of the step is passed. Minutes and runs count from the step's begin."""

    share: float = Field(ge=0.0, le=1.0)
    """Of the units that get the canary: 0 is shadow, at most 0.5, or 1: then it becomes the stable revision."""
    minutes: float = Field(default=10.0, ge=0, le=43_200)
    sample: int = Field(default=30, ge=0, le=1_000_000)
    """Runs an arm; of a shadow, pairs."""
    margin: float | None = Field(default=None, gt=0, lt=1)
    """Must be shown to be no worse than by this much; None: it is enough that nothing was shown to be worse."""
    approval: bool = False
    """A person must approve before the next step."""


DEFAULT_STEPS = (
    RolloutStep(share=SHADOW, minutes=5, sample=20),
    RolloutStep(share=0.01, minutes=10, sample=30, margin=0.25),
    RolloutStep(share=0.05, minutes=10, sample=50, margin=0.15),
    RolloutStep(share=0.10, minutes=10, sample=50, margin=0.15),
    RolloutStep(share=0.25, minutes=10, sample=100, margin=0.10),
    RolloutStep(share=0.50, minutes=10, sample=200, margin=0.05),
    RolloutStep(share=WHOLE, minutes=0, sample=0),
)


class RolloutPlan(Value):
    """Steps up, what else is watched on the way, and how long after it."""

    steps: tuple[RolloutStep, ...] = Field(default=DEFAULT_STEPS, min_length=2, max_length=20)
    shadow_share: float = Field(default=0.1, gt=0, le=1)
    """Of the production runs that are repeated while a shadow step lasts."""
    shadow_runs: int = Field(default=500, ge=1, le=100_000)
    """The most shadow runs of one rollout."""
    latency_ratio: float = Field(default=1.5, gt=1, le=100)
    """Shown to be slower than this much: a signal, it pauses."""
    cost_ratio: float = Field(default=1.5, gt=1, le=100)
    requires_quality: bool = False
    """The margins hold for reported outcomes too, not for successes alone."""
    watch_runs: int = Field(default=500, ge=0, le=1_000_000)
    """Runs after completion that are compared with what the former revision did; 0: none."""
    watch_hours: float = Field(default=24.0, gt=0, le=720)

    @model_validator(mode="after")
    def _goes_up(self) -> Self:
        shares = [step.share for step in self.steps]
        if any(later <= earlier for earlier, later in itertools.pairwise(shares)):
            raise ValueError(f"the shares of the steps go up, these are {shares}")
        if shares[-1] != WHOLE or any(share > 0.5 for share in shares[:-1]):
            raise ValueError("shares are at most 0.5, so that as many are left to compare with, and the last is 1")
        return self


class ArmNumbers(Part):
    """What one arm did so far."""

    runs: int = 0
    units: int = 0
    """Users or sessions behind `runs`; a run without one is its own. Each counts once in what is compared, with its first run."""
    successes: int = 0
    hard_failures: int = 0
    """Runs that failed or were refused; a degraded one is neither this nor a success."""
    seconds: float = 0.0
    """Geometric mean of the successful runs."""
    cost_usd: float = 0.0
    """Geometric mean of the successful runs that cost anything."""


class RolloutNumbers(Part):
    """The numbers behind a decision."""

    canary: ArmNumbers = ArmNumbers()
    control: ArmNumbers = ArmNumbers()
    pairs: int = 0
    """Canary outcomes that were compared with one of the control, shadow pairs included."""
    gain: float | None = None
    """Mean difference of the successes of pairs."""
    gain_low: float | None = None
    gain_high: float | None = None
    """95% confidence sequence; None where there are too few for it."""
    margin_shown: float | None = None
    """The smallest margin of the plan within which the canary was shown to be."""
    p_worse: float = 1.0
    """Anytime-valid, successes; a rollback below `p_limit`."""
    p_worse_quality: float = 1.0
    quality_pairs: int = 0
    p_broken: float = 1.0
    """Of the tripwire."""
    sample_ratio_p: float = 1.0
    latency_ratio: float | None = None
    cost_ratio: float | None = None
    shadow_runs: int = 0
    watch_runs: int = 0
    p_watch: float = 1.0


class StartRollout(Command):
    """Starts the rollout of an approved revision over the stable one. One rollout a pipeline at a time."""

    subject: ClassVar[str] = "cmd.guardrail.start_rollout"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    rollout_id: Identifier
    pipeline: PipelineName
    digest: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    """Of the revision that is to become stable, or its beginning."""
    plan: RolloutPlan | None = None
    """None: the policy's."""
    reason: str = Field(default="", max_length=2000)
    author: Identifier


class ControlRollout(Command):
    """Steers a rollout. `approve_step` passes the approval of a step; `complete_now` skips all steps that are left."""

    subject: ClassVar[str] = "cmd.guardrail.control_rollout"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    rollout_id: Identifier
    verb: RolloutVerb
    reason: str = Field(default="", max_length=2000)
    """`abort` and `complete_now` need one."""
    step: int | None = Field(default=None, ge=1)
    """Number of the step that `approve_step` means, from 1: refused where the rollout is at another one by then. Without it the
    present one is meant, whichever that is when the command is handled."""
    author: Identifier


class ReportOutcome(Command):
    """How good a run's answer was, told by whoever knows; once a run, the first report counts."""

    subject: ClassVar[str] = "cmd.guardrail.report_outcome"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    run_id: Identifier
    score: float = Field(ge=0.0, le=1.0)
    author: Identifier = "anonymous"
    comment: str = Field(default="", max_length=2000)


class OutcomeReported(Fact):
    subject: ClassVar[str] = "evt.outcome.reported"
    owner: ClassVar[str] = "guardrail"

    run_id: str
    score: float
    author: str
    comment: str = ""


class _RolloutFact(Fact):
    """What every fact about a rollout says."""

    owner: ClassVar[str] = "guardrail"

    rollout_id: str
    pipeline: str
    canary: str
    """Digest that is rolled out."""
    stable: str
    """Digest that it is compared with."""
    share: float
    reason: str = ""
    author: str = "guardrail"
    numbers: RolloutNumbers = RolloutNumbers()


class RolloutStarted(_RolloutFact):
    subject: ClassVar[str] = "evt.rollout.started"

    plan: RolloutPlan
    change_id: str = ""
    generation: int = 0
    """The deployment's."""


class RolloutStepped(_RolloutFact):
    """A step up; `share` is the new one."""

    subject: ClassVar[str] = "evt.rollout.stepped"

    generation: int = 0


class RolloutPaused(_RolloutFact):
    """Stays at its share until a person resumes it: a signal, or somebody asked for it."""

    subject: ClassVar[str] = "evt.rollout.paused"


class RolloutResumed(_RolloutFact):
    """A person goes on; signals that were shown are accepted."""

    subject: ClassVar[str] = "evt.rollout.resumed"


class RolloutHeld(_RolloutFact):
    """Cannot go up although its time has come: no data, a sample-ratio mismatch, an approval, a freeze. Goes on by itself."""

    subject: ClassVar[str] = "evt.rollout.held"


class RolloutCompleted(_RolloutFact):
    """The canary is the stable revision now."""

    subject: ClassVar[str] = "evt.rollout.completed"

    generation: int = 0


class RolloutRolledBack(_RolloutFact):
    """The canary is quarantined; the stable revision serves all, the former one where it was found out after completion."""

    subject: ClassVar[str] = "evt.rollout.rolled_back"

    quarantined: tuple[str, ...] = ()
    generation: int = 0


class RolloutAborted(_RolloutFact):
    """Ended without a judgement on the canary: by a person, or because another revision became stable."""

    subject: ClassVar[str] = "evt.rollout.aborted"


class RolloutControlled(Fact):
    """Answers a command about a rollout that was done, now or before."""

    subject: ClassVar[str] = "evt.rollout.controlled"
    owner: ClassVar[str] = "guardrail"

    rollout_id: str
    pipeline: str
    verb: str
    """`start` or that of the command."""
    state: RolloutState
    share: float
    waits_for: str = ""
    author: str
    reason: str = ""


class RolloutRefused(Fact):
    """A command about a rollout that was not done."""

    subject: ClassVar[str] = "evt.rollout.refused"
    owner: ClassVar[str] = "guardrail"

    rollout_id: str
    pipeline: str = ""
    verb: str
    """`start` or that of the command."""
    reason: str


class GetRollout(Query):
    """Answer: `{rollout_id, pipeline, stable, canary, state, step, share, plan, waits_for, held, numbers, history, ...}`. With a
    pipeline's name instead of a rollout id, its latest one."""

    subject: ClassVar[str] = "api.guardrail.get_rollout"
    owner: ClassVar[str] = "guardrail"

    rollout_id: Identifier


class ListRollouts(Query):
    """Answer: `{rollouts: [{rollout_id, pipeline, state, share, canary, stable, waits_for, started_at, ...}]}`, newest first."""

    subject: ClassVar[str] = "api.guardrail.list_rollouts"
    owner: ClassVar[str] = "guardrail"

    pipeline: PipelineName | None = None
    open_only: bool = False
    limit: int = Field(default=20, ge=1, le=200)
