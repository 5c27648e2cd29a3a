"""What serves under a name, and how it is taken back."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shared.events.message import Command, Fact, Query
from shared.events.values import Identifier, PipelineName


class PipelineDeployed(Fact):
    subject: ClassVar[str] = "evt.pipeline.deployed"
    owner: ClassVar[str] = "guardrail"

    pipeline: str
    digest: str
    previous_digest: str = ""
    change_id: str
    generation: int
    """Counts the deployment document's compare-and-sets."""


class RollbackPipeline(Command):
    """Makes the previous stable revision (or `to_digest`, a former one) stable again and quarantines the present one.

    Runs under way on it finish, unless `cancel_running`."""

    subject: ClassVar[str] = "cmd.guardrail.rollback"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    rollback_id: Identifier
    pipeline: PipelineName
    to_digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$")
    reason: str = Field(min_length=1, max_length=2000)
    author: Identifier
    cancel_running: bool = False


class PipelineRolledBack(Fact):
    subject: ClassVar[str] = "evt.pipeline.rolled_back"
    owner: ClassVar[str] = "guardrail"

    rollback_id: str
    pipeline: str
    from_digest: str
    to_digest: str
    quarantined: tuple[str, ...]
    """Digests that no run may start on any more: the bad revision and its descendants."""
    reason: str
    author: str
    generation: int


class RollbackRefused(Fact):
    subject: ClassVar[str] = "evt.rollback.refused"
    owner: ClassVar[str] = "guardrail"

    rollback_id: str
    pipeline: str
    reason: str


class GetPipeline(Query):
    """Answer: `{name, stable, canary, maturity, previous: [...], generation, frozen, attestation, rolled_back, revisions: [{digest,
    status, change_id, parent_digest, origins, quarantine, ...}], document}`.

    `frozen` is the id of the freeze that keeps it as it is, `quarantine` says why a revision is out of use, `rolled_back` is the
    rollback that brought what serves, or null."""

    subject: ClassVar[str] = "api.guardrail.get_pipeline"
    owner: ClassVar[str] = "guardrail"

    pipeline: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}(@(stable|canary|[0-9a-f]{8,64}))?$")
    undeployed_too: bool = False
    """Where nothing serves the name, the newest approved revision is meant; `stable` is null then."""


class ListPipelines(Query):
    """Answer: `{pipelines: [{name, domain, stable, maturity, generation, updated_at, quarantined, frozen}]}`."""

    subject: ClassVar[str] = "api.guardrail.list_pipelines"
    owner: ClassVar[str] = "guardrail"

    limit: int = Field(default=100, ge=1, le=1000)
