"""Where revisions came from: what searches tried, from what, with which result."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shared.events.message import Query
from shared.events.values import Identifier, PipelineName


class GetLineage(Query):
    """Evolutions with their candidates, newest evolution first.

    Answer: `{evolutions: [{evolution_id, pipeline, status, strategy, created_at, seed_digest, best_digest, change_id, verdict,
    gain, gain_low, gain_high, claim, deployed, evaluations, candidates: [{digest, birth, parent, origins, operator, text, accepted,
    score, on_front}], left_out}]}`. `origins`: digests of templates and other pipelines that anything in it is taken from; left out
    where there are none. `left_out` counts the candidates that are not told: accepted ones are told first. Of a
    search that goes on they are those measured until a few seconds ago."""

    subject: ClassVar[str] = "api.evolution.lineage"
    owner: ClassVar[str] = "evolution"

    pipeline: PipelineName | None = None
    evolution_id: Identifier | None = None
    limit: int = Field(default=10, ge=1, le=50)
    """Evolutions."""
    candidates: int = Field(default=60, ge=1, le=1000)
    """Of each evolution, at most."""


class GetCandidate(Query):
    """One candidate of any evolution, by its digest or the first 8 digits or more.

    Answer: `{digest, parent, origins, operator, text, accepted, score, evolution_id, pipeline, document, parent_document}`;
    `document` is null while the search goes on, `parent_document` then and where the parent is not known."""

    subject: ClassVar[str] = "api.evolution.candidate"
    owner: ClassVar[str] = "evolution"

    digest: str = Field(pattern=r"^[0-9a-f]{8,64}$")
