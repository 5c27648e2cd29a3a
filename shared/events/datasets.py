"""Datasets, and how good pipelines are on their cases."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from shared.errors import Problem
from shared.events.message import Command, Fact, Query
from shared.events.values import Case, Domain, GraderSpec, Identifier, Score, Split


class RegisterDataset(Command):
    """Hands labelled cases to their custodian, the guardrail, which splits by hash where a case names no split.

    The sealed labels never leave it. The same id with the same cases is a no-op; with other cases it is refused."""

    subject: ClassVar[str] = "cmd.guardrail.register_dataset"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    dataset_id: Identifier
    domain: Domain
    cases: tuple[Case, ...] = Field(min_length=3, max_length=5000)
    grader: GraderSpec
    source: str = Field(default="", max_length=2000)
    license: str = Field(default="", max_length=200)
    author: Identifier = "anonymous"


class DatasetRegistered(Fact):
    subject: ClassVar[str] = "evt.dataset.registered"
    owner: ClassVar[str] = "guardrail"

    dataset_id: str
    digest: str
    domain: str
    train: int
    dev: int
    sealed: int
    grader_hash: str


class DatasetRefused(Fact):
    subject: ClassVar[str] = "evt.dataset.refused"
    owner: ClassVar[str] = "guardrail"

    dataset_id: str
    problems: tuple[Problem, ...]


class GetDataset(Query):
    """Answer: `{dataset_id, domain, grader, counts: {split: n}, cases: [Case, ...]}`; sealed cases are never in it."""

    subject: ClassVar[str] = "api.guardrail.get_dataset"
    owner: ClassVar[str] = "guardrail"

    dataset_id: Identifier
    splits: tuple[Split, ...] = ("train", "dev")
    limit: int = Field(default=1000, ge=1, le=5000)


class MeasurePipelines(Command):
    """Scores documents or deployed pipelines on the sealed cases of a dataset: a metered look, no verdict."""

    subject: ClassVar[str] = "cmd.guardrail.measure"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    measure_id: Identifier
    dataset_id: Identifier
    pipelines: dict[str, dict[str, Any] | str] = Field(min_length=1, max_length=4)
    """Label -> document, or reference to a deployed revision."""
    cases: int = Field(default=60, ge=1, le=2000)
    author: Identifier = "anonymous"


class PipelinesMeasured(Fact):
    subject: ClassVar[str] = "evt.pipelines.measured"
    owner: ClassVar[str] = "guardrail"

    measure_id: str
    dataset_id: str
    scores: dict[str, Score]
    digests: dict[str, str]
    differences: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    """Label -> (gain over the first label, low, high), paired on the same cases."""
    usage: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Label -> {calls, tokens, seconds_p50, seconds_p95, cost_usd}."""
    seconds: float = 0.0
    problems: tuple[Problem, ...] = ()
    """Not empty where nothing could be measured."""
