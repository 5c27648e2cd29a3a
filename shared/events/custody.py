"""Questions about what the guardrail keeps: data sets, and what people said."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shared.events.message import Query
from shared.events.values import Domain


class ListDatasets(Query):
    """Answer: `{datasets: [{dataset_id, domain, counts, grader, source, license, author, created_at}]}`, newest first."""

    subject: ClassVar[str] = "api.guardrail.list_datasets"
    owner: ClassVar[str] = "guardrail"

    domain: Domain | None = None
    limit: int = Field(default=50, ge=1, le=500)


class ListFeedback(Query):
    """What people said about changes: comments of reviews, reasons of rollbacks.

    Answer: `{feedback: [{kind, pipeline, digest, author, said, text, at}]}`, newest first; `kind` is `review` or `rollback`, `said`
    `approve`, `deny` or `rollback`."""

    subject: ClassVar[str] = "api.guardrail.list_feedback"
    owner: ClassVar[str] = "guardrail"

    limit: int = Field(default=50, ge=1, le=500)
