"""A/B experiments: variants of a pipeline on the same cases, compared by the statistics kernel; the better one is proposed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.errors import Problem
from shared.events.changes import GateVerdict
from shared.events.message import Command, Fact, Part, Query, Value
from shared.events.rollouts import RolloutPlan
from shared.events.values import Identifier, PipelineName, Score

MOST_VARIANTS = 8
ExperimentStage = Literal["scope", "variants", "measuring", "comparing", "explaining", "gate"]
ExperimentOutcome = Literal[
    "refused",
    "stopped",
    "no_winner",
    "certified",
    "canary",
    "rejected",
    "queued",
    "vetoed",
    "rolled_out",
    "rolled_back",
    "rollout_aborted",
]
Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Variant(Value):
    """A document that somebody wants to see measured, under a name for reports."""

    label: Label
    document: dict[str, Any]


class StartExperiment(Command):
    """Measures variants of a deployed pipeline against its stable revision on the same dev cases, and proposes the winner, if the
    statistics name one, as a promotion. The same id with the same content is the same experiment."""

    subject: ClassVar[str] = "cmd.evolution.start_experiment"
    owner: ClassVar[str] = "evolution"

    experiment_id: Identifier
    pipeline: PipelineName
    dataset_id: Identifier
    variants: tuple[Variant, ...] = Field(default=(), max_length=MOST_VARIANTS)
    generate: bool = False
    """Have the meta pipeline `pipeline_ab_testing` make further variants."""
    evaluations: int = Field(default=600, ge=1, le=100_000)
    """Runs of a variant or of the stable revision on one case; the gate's come from the guardrail's own budget."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance of naming any winner where no variant is better, over all variants together (Holm)."""
    seconds: float = Field(default=900, gt=0, le=86_400)
    """Of work on it: what waits for a service that is down loses none."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    rollout: RolloutPlan | None = None
    """How the winner takes over; None: as policy says."""
    author: Identifier = "anonymous"


class StopExperiment(Command):
    """Ends one experiment at once: nothing more of it is run, what it did not use of its budget is free again, nothing is proposed.

    For whoever ordered it, operators and admins. Stopped again it is told again. Refused where there is no such experiment, where
    it has ended, or where its winner was proposed: that is the guardrail's by then."""

    subject: ClassVar[str] = "cmd.evolution.stop_experiment"
    owner: ClassVar[str] = "evolution"
    signed: ClassVar[bool] = True

    experiment_id: Identifier
    reason: str = Field(min_length=1, max_length=2000)
    author: Identifier


class VariantReport(Part):
    """What was measured of one variant, beside the stable revision on the same cases."""

    label: str
    digest: str = ""
    origin: Literal["file", "generated", "stable"] = "file"
    score: Score | None = None
    usage: dict[str, float] = Field(default_factory=dict)
    """Means of the runs of which it is known: `{tokens, cost_usd, seconds}`. Shown; the winner is chosen by its gain."""
    gain: float | None = None
    """Mean grade minus that of the stable revision on the same cases."""
    gain_low: float | None = None
    gain_high: float | None = None
    """Interval at the level that Bonferroni gives each variant: all intervals hold together."""
    p_value: float | None = None
    """One-sided exact McNemar (0/1 grades) or paired sign-flip permutation."""
    p_adjusted: float | None = None
    """By Holm over all variants that the experiment began with."""
    p_worse: float | None = None
    more_cases_needed: int = 0
    """Cases beyond these that would show the gain that was seen with 80% power; 0 where it was shown, or none was seen."""
    verdict: Literal["baseline", "better", "worse", "undecided", "failing", "invalid"] = "undecided"
    reasons: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class ExperimentProgressed(Fact):
    subject: ClassVar[str] = "evt.experiment.progressed"
    owner: ClassVar[str] = "evolution"

    experiment_id: str
    stage: ExperimentStage
    text: str
    evaluations: int
    evaluations_budget: int


class ExperimentFinished(Fact):
    """How it ended so far. An experiment whose winner waits for people, or is rolled out, tells its end again when that is known.

    `certified`, `canary` and `rejected` are the sealed gate's; `vetoed`: somebody said no to what the gate had not rejected;
    `no_winner`: the statistics name none; `stopped`: by somebody's order."""

    subject: ClassVar[str] = "evt.experiment.finished"
    owner: ClassVar[str] = "evolution"

    experiment_id: str
    pipeline: str
    outcome: ExperimentOutcome
    vetoed_by: str = ""
    """`gate`, `check`, `expiry`, `policy:RULE` or `review:NAME`, where the winner was not approved."""
    gate_verdict: GateVerdict | Literal[""] = ""
    """What the sealed cases showed, whoever decided after that; empty where nothing was measured on them."""
    winner: str = ""
    """Label; empty where there is none."""
    winner_digest: str = ""
    stable_digest: str = ""
    variants: tuple[VariantReport, ...] = ()
    """The stable revision first."""
    correction: Literal["holm"] = "holm"
    alpha: float = 0.05
    cases: int = 0
    """On which all were compared."""
    detectable_gain: float | None = None
    """The least gain that so many cases show with 80% power where the variants differ on as many cases as was seen."""
    explanation: str = ""
    """A model's words. They decide nothing."""
    model_winner: str = ""
    """Whom the model named."""
    disagreement: str = ""
    """Said where the model named another winner than the statistics did."""
    change_id: str = ""
    rollout_id: str = ""
    deployed: bool = False
    gain: float | None = None
    """On the sealed cases, as the gate measured it."""
    gain_low: float | None = None
    gain_high: float | None = None
    claim: float | None = None
    """What the gate claims of it (`GateFinished.claim`)."""
    evaluations: int = 0
    reasons: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    seconds: float = 0.0


class GetExperiment(Query):
    """Answer: `{experiment_id, pipeline, status, command, created_at, answer}`; `answer` is the latest `ExperimentFinished`, absent
    while there is none."""

    subject: ClassVar[str] = "api.evolution.get_experiment"
    owner: ClassVar[str] = "evolution"

    experiment_id: Identifier


class ListExperiments(Query):
    """Answer: `{experiments: [{experiment_id, pipeline, status, outcome, winner, created_at}]}`, newest first."""

    subject: ClassVar[str] = "api.evolution.list_experiments"
    owner: ClassVar[str] = "evolution"

    pipeline: PipelineName | None = None
    limit: int = Field(default=20, ge=1, le=200)
