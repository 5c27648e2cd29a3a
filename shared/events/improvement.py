"""Measuring, learning, evolving."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shared.errors import Problem
from shared.events.changes import GateVerdict
from shared.events.message import Command, Fact, Part, Query
from shared.events.trade_offs import TradeOffs
from shared.events.values import Attestation, Domain, Identifier, PipelineName, Score


class PipelineScored(Fact):
    """A graded measurement of one revision outside the sealed data: trial runs (generator) or search (evolution)."""

    subject: ClassVar[str] = "evt.pipeline.scored"
    owner: ClassVar[str] = "generator"

    pipeline: str
    digest: str
    domain: str
    purpose: str
    score: Score
    document: dict[str, Any]
    """The revision itself: what learning mines."""
    group_id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Blanks that the revision was filled with (`instruction`, `item`, `labels`, ...): lets a template be made of it again."""


class PipelineMeasured(Fact):
    """Aggregates of one revision so far, at most once a second a pipeline."""

    subject: ClassVar[str] = "evt.pipeline.measured"
    owner: ClassVar[str] = "analytics"

    pipeline: str
    digest: str
    purpose: str
    runs: int
    success_rate: float
    error_rate: float
    degraded_rate: float
    latency_p50_seconds: float
    latency_p95_seconds: float
    input_tokens: int
    output_tokens: int
    cost_usd: float
    quality: Score | None = None


class GetReport(Query):
    """Answer: `{pipelines: [{pipeline, digest, purpose, runs, success_rate, ..., steps: [...], bottleneck, quality}], totals}`."""

    subject: ClassVar[str] = "api.analytics.report"
    owner: ClassVar[str] = "analytics"

    pipeline: PipelineName | None = None
    purpose: str | None = None
    limit: int = Field(default=50, ge=1, le=500)


class GetModelRecords(Query):
    """How models have done in one domain so far, counted from the steps of all runs. Answer: `{domain, records: [{family, provider,
    model, calls, successes, latency_seconds, latency_p95_seconds, cost_usd, tokens}]}`, most called first; `latency_seconds` is
    the median of one call, `cost_usd` and `tokens` are the means of one call."""

    subject: ClassVar[str] = "api.analytics.model_records"
    owner: ClassVar[str] = "analytics"

    domain: Domain
    family: str | None = None
    limit: int = Field(default=100, ge=1, le=500)


class LearnFromRuns(Command):
    """Mines what was recorded so far. Also done by itself after every few scored revisions."""

    subject: ClassVar[str] = "cmd.learner.learn"
    owner: ClassVar[str] = "learner"

    learning_id: Identifier
    domain: Domain | None = None
    author: Identifier = "anonymous"


class Pattern(Part):
    """A counted regularity. `lift` is the mean score with it minus the mean without it, over revisions of the same task."""

    pattern_id: str
    kind: Literal["step_sequence", "prompt_feature", "provider", "parameter"]
    text: str
    support: int
    success_rate: float
    low: float
    high: float
    lift: float
    domains: tuple[str, ...]
    provenance: tuple[str, ...] = ()
    """Digests that it was counted on."""


class PatternsMined(Fact):
    subject: ClassVar[str] = "evt.patterns.mined"
    owner: ClassVar[str] = "learner"

    learning_id: str
    revisions: int
    runs: int
    """Ended runs of the last 365 days."""
    patterns: tuple[Pattern, ...]
    template_change_id: str = ""
    """Change that proposes a template made from the best revision; empty where nothing was worth one."""
    reasons: tuple[str, ...] = ()


class TemplateLearned(Fact):
    """A template that the guardrail approved and the generator may use from now on."""

    subject: ClassVar[str] = "evt.template.learned"
    owner: ClassVar[str] = "learner"

    template: str
    digest: str
    domain: str
    document: dict[str, Any]
    support: int
    score: Score | None = None
    attestation: Attestation | None = None
    """The guardrail's, without which nobody uses the template."""


class GetKnowledge(Query):
    """Answer: `{patterns: [...], templates: [...]}`."""

    subject: ClassVar[str] = "api.learner.knowledge"
    owner: ClassVar[str] = "learner"

    domain: Domain | None = None
    limit: int = Field(default=50, ge=1, le=500)


class StartEvolution(Command):
    """Searches for a better revision of a deployed pipeline within `evaluations` and proposes the best through the sealed gate."""

    subject: ClassVar[str] = "cmd.evolution.start"
    owner: ClassVar[str] = "evolution"

    evolution_id: Identifier
    pipeline: PipelineName
    dataset_id: Identifier
    evaluations: int = Field(default=300, ge=1, le=100_000)
    """Runs of a candidate on one case that the search may spend; the gate's come from the guardrail's own budget."""
    strategy: Literal["climb", "genetic", "guided", "best_of", "gepa"] = "guided"
    generations: int = Field(default=5, ge=1, le=1000)
    """Of the genetic algorithm, as `population`; the others go on until the budget is used up."""
    population: int = Field(default=50, ge=2, le=1000)
    seconds: float = Field(default=600, gt=0, le=86_400)
    """Of work on it: what waits for a service that is down loses none."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    borrow_from: tuple[PipelineName, ...] = Field(default=(), max_length=8)
    """Other deployed pipelines whose steps the search may take over for this task."""
    fault_cases: int = Field(default=0, ge=0, le=200)
    """Cases on which finalists and stable revision run once more while 30% of their model calls fail on purpose: robustness is the
    share that still gives an answer. They count as evaluations; 0: robustness stays unknown."""
    weights: dict[Literal["cost", "latency", "robustness"], Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """What the final choice gives for other objectives than quality: for twice the seed's cost or latency, for surviving all faults
    instead of none. 0.05 is five points of quality; empty: quality alone decides."""
    author: Identifier = "anonymous"


class StopEvolution(Command):
    """Ends one search at once: nothing more of it is run, what it did not use of its budget is free again, nothing is proposed.

    For whoever ordered it, operators and admins. Stopped again it is told again. Refused where there is no such search, where it
    has ended, or where its candidate was proposed: that is the guardrail's by then."""

    subject: ClassVar[str] = "cmd.evolution.stop"
    owner: ClassVar[str] = "evolution"
    signed: ClassVar[bool] = True

    evolution_id: Identifier
    reason: str = Field(min_length=1, max_length=2000)
    author: Identifier


class EvolutionProgressed(Fact):
    subject: ClassVar[str] = "evt.evolution.progressed"
    owner: ClassVar[str] = "evolution"

    evolution_id: str
    stage: Literal["scope", "seed", "search", "finalists", "gate"]
    text: str
    evaluations: int
    """Counted, which is before they run."""
    evaluations_budget: int
    best: Score | None = None
    """Of the candidate that leads; optimistic, since it was chosen by it."""
    candidates: int = 0
    done: int = 0
    """Evaluations that have ended."""
    generation: int = 0
    """0 where the strategy has none; `generations` is 0 where it goes on until the budget is used up."""
    generations: int = 0
    front: int = 0
    """Candidates that no other one beats in every objective; 0 while that is not known."""
    operator: str = ""
    """Which made the candidate that was accepted last, and what it changed."""
    change: str = ""
    elapsed_seconds: float = 0.0
    """Since the command was taken up, pauses of the service included."""
    seconds_left: float | None = None
    """At the present pace, at most: a search may end early. None while too little ran to tell."""


class EvolutionFinished(Fact):
    """`verdict` is the sealed gate's; `queued` for people; `vetoed` where somebody said no to what the gate had not rejected;
    `no_candidate` where the search found nothing to propose; `refused`, or `stopped` by somebody's order."""

    subject: ClassVar[str] = "evt.evolution.finished"
    owner: ClassVar[str] = "evolution"

    evolution_id: str
    pipeline: str
    verdict: Literal["certified", "canary", "rejected", "queued", "vetoed", "no_candidate", "refused", "stopped"]
    vetoed_by: str = ""
    """`gate`, `check`, `expiry`, `policy:RULE` or `review:NAME`, where what it proposed was not approved."""
    gate_verdict: GateVerdict | Literal[""] = ""
    """What the sealed cases showed, whoever decided after that; empty where nothing was measured on them."""
    seed_digest: str = ""
    best_digest: str = ""
    change_id: str = ""
    strategy: str = ""
    operator: str = ""
    """That made the best candidate."""
    search_seed: Score | None = None
    search_best: Score | None = None
    gain: float | None = None
    """As the sealed gate saw it, with its interval."""
    gain_low: float | None = None
    gain_high: float | None = None
    claim: float | None = None
    """What the gate claims of it (`GateFinished.claim`)."""
    evaluations: int = 0
    candidates: int = 0
    lineage: tuple[dict[str, Any], ...] = ()
    """`{digest, parent, operator, text, changes, score}` of the accepted candidates, oldest first."""
    trade_offs: TradeOffs | None = None
    """Pareto front and menu of niches of all measured candidates; None where nothing was searched."""
    rollout_id: str = ""
    """Of the rollout that the approved candidate began; how it ends is told by the rollout."""
    deployed: bool = False
    """Serves all runs since it was approved."""
    reasons: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    seconds: float = 0.0


class GetEvolution(Query):
    """Answer: the evolution's record with candidates and lineage."""

    subject: ClassVar[str] = "api.evolution.get"
    owner: ClassVar[str] = "evolution"

    evolution_id: Identifier
