"""From a request to a proposed pipeline."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.errors import Problem
from shared.events.message import Command, Fact, Part, Query
from shared.events.values import Case, Constraints, Domain, GraderSpec, Identifier, PipelineName, Score


class GeneratePipeline(Command):
    """Asks for a pipeline that does what `requirements` say, judged by the examples.

    Examples come inline (`examples`, at most 500) or from a dataset registered before (`dataset_id`): then the generator sees its
    train and dev splits only, and the guardrail measures on the sealed one."""

    subject: ClassVar[str] = "cmd.generator.generate"
    owner: ClassVar[str] = "generator"

    request_id: Identifier
    requirements: str = Field(min_length=3, max_length=20_000)
    domain: Domain
    name: PipelineName | None = None
    """Name of the wanted pipeline; default: made from domain and request id."""
    examples: tuple[Case, ...] = Field(default=(), max_length=500)
    dataset_id: Identifier | None = None
    grader: GraderSpec | None = None
    """Default: the dataset's, else inferred from the labels.

    Few distinct strings: `label`; numbers: `numeric`; objects: `json_fields`."""
    constraints: Constraints = Constraints()
    resources: dict[str, Any] = Field(default_factory=dict)
    """Free facts for the context analysis: tools at hand, languages, style guides."""
    author: Identifier = "anonymous"
    seed: int = Field(default=0, ge=0, lt=2**32)


class RequestAccepted(Fact):
    subject: ClassVar[str] = "evt.request.accepted"
    owner: ClassVar[str] = "generator"

    request_id: str
    pipeline: PipelineName
    domain: str


class RequestProgressed(Fact):
    """`stage` is one of analysis, candidates, trials, optimisation, proposal, verdict."""

    subject: ClassVar[str] = "evt.request.progressed"
    owner: ClassVar[str] = "generator"

    request_id: str
    stage: str
    text: str
    done: int = 0
    total: int = 0


class CandidateReport(Part):
    """How one candidate fared; part of `RequestFinished`."""

    digest: str = ""
    """Empty where the candidate never became a valid document."""
    strategy: str
    """template, synthesis, learned_template, baseline, ..."""
    origin: str
    """Template or pipeline that it was made from."""
    outcome: Literal["proposed", "outscored", "invalid", "failed", "timed_out"]
    trial: Score | None = None
    seconds: float = 0.0
    tokens: int = 0
    reasons: tuple[str, ...] = ()


class RequestRejected(Fact):
    """The request could not be served; nothing was created."""

    subject: ClassVar[str] = "evt.request.rejected"
    owner: ClassVar[str] = "generator"

    request_id: str
    problems: tuple[Problem, ...]


class RequestFinished(Fact):
    """The end of a request that was accepted: approved, waiting for people, vetoed, or no candidate worth proposing."""

    subject: ClassVar[str] = "evt.request.finished"
    owner: ClassVar[str] = "generator"

    request_id: str
    outcome: Literal["approved", "queued", "vetoed", "no_candidate"]
    pipeline: str
    digest: str = ""
    change_id: str = ""
    candidates: tuple[CandidateReport, ...] = ()
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0
    calls: int = 0


class GetRequest(Query):
    """Answer: the request's record `{request_id, status, pipeline, change_id, answer, created_at, finished_at}`."""

    subject: ClassVar[str] = "api.generator.get_request"
    owner: ClassVar[str] = "generator"

    request_id: Identifier


class ListRequests(Query):
    """Answer: `{requests: [{_id, status, pipeline, domain, requirements, constraints, resources, answer, created_at, ...}]}` newest
    first."""

    subject: ClassVar[str] = "api.generator.list_requests"
    owner: ClassVar[str] = "generator"

    limit: int = Field(default=20, ge=1, le=200)
