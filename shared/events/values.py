"""Values that several messages carry."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from shared.events.message import Part, Value

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
"""A name that a client chooses: request, run, dataset, case, change."""
PipelineName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
PipelineReference = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}(@(stable|canary|[0-9a-f]{8,64}))?$")]
"""`name`, `name@stable`, `name@canary` or `name@<digest or its first 8 digits or more>`."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a canonical form, lower-case hex."""
Domain = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Split = Literal["train", "dev", "sealed"]


class Case(Value):
    """One labelled example. Without `split`, the guardrail assigns one by hash of the id."""

    id: Identifier
    input: dict[str, Any] = Field(min_length=1)
    expected: Any
    split: Split | None = None
    tags: tuple[str, ...] = ()


class GraderSpec(Value):
    """A frozen grader; its hash is part of every score. See `shared.evidence.graders` for the options of each kind."""

    kind: Literal["exact", "normalized", "numeric", "label", "json_fields", "regex", "contains"] = "exact"
    options: dict[str, Any] = Field(default_factory=dict)


class Constraints(Value):
    """What one run of the wanted pipeline may use at most, and what the search for it may use."""

    max_seconds: float = Field(default=30.0, gt=0, le=3600)
    max_calls: int = Field(default=8, ge=0, le=1000)
    max_tokens: int = Field(default=8000, ge=0)
    max_cost_usd: float = Field(default=0.05, ge=0)
    generation_seconds: float = Field(default=60.0, gt=0, le=3600)
    generation_calls: int = Field(default=200, ge=0, le=100_000)
    providers: tuple[str, ...] = ()
    """Step families that may be used (`claude`, `gemini`); empty means all that policy allows."""


class Budget(Value):
    """Upper bounds; reserved before use, never overshot."""

    runs: int = Field(default=0, ge=0)
    calls: int = Field(default=0, ge=0)
    tokens: int = Field(default=0, ge=0)
    cost_usd: float = Field(default=0.0, ge=0)


class Usage(Part):
    """Token counts of provider calls; `input_tokens` includes cached ones."""

    calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls - other.calls,
            input_tokens=self.input_tokens - other.input_tokens,
            cached_input_tokens=self.cached_input_tokens - other.cached_input_tokens,
            output_tokens=self.output_tokens - other.output_tokens,
            cost_usd=self.cost_usd - other.cost_usd,
        )


class Score(Part):
    """Mean grade in [0, 1] over `cases`, with a 95% interval; failed cases count as 0."""

    mean: float
    low: float
    high: float
    cases: int
    failures: int = 0
    """Cases without a gradable answer: errors, time-outs, degraded or invalid output."""
    grader_hash: str
    method: str = "wilson"
    """How the interval was made: `wilson` for 0/1 grades, `bootstrap` for graded ones."""


class Attestation(Part):
    """Ed25519 signature of the guardrail over everything above `signature` (see `shared.attestation`)."""

    kind: Literal["revision", "scope", "template", "policy", "maturity"]
    digest: Digest
    """What is approved: a revision's or a scope's digest."""
    scope: str
    """Where it holds: the pipeline's name for a revision, the purpose for a scope."""
    domain: str
    policy_revision: str
    issued_at: str
    """RFC 3339, UTC."""
    expires_at: str
    key_id: str
    signature: str = ""
    """Base64."""


class TrialScope(Value):
    """What a search may run without one verdict a candidate: attested once, checked by executors for every run."""

    scope_id: Identifier
    purpose: Literal["generation", "evolution", "gate", "measure", "meta"]
    holder: str
    domain: str
    step_types: tuple[str, ...]
    providers: tuple[str, ...]
    functions: tuple[str, ...]
    budget: Budget
    expires_at: str


class GrantedScope(Value):
    scope: TrialScope
    attestation: Attestation
