"""What people said about changes, in their own words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.guardrail.domain.records import ChangeRecord, RollbackRecord
from services.guardrail.ports import Guardrail
from shared.events.custody import ListFeedback


async def list_feedback(query: ListFeedback, at: Guardrail) -> dict[str, Any]:
    """Decisions without a comment say nothing beside the verdict and are left out."""
    reviews = [row for record in await at.changes.decided_by_people(query.limit) for row in _reviewed(record)]
    rollbacks = [_rolled_back(record) for record in await at.rollbacks.latest(query.limit)]
    rows = sorted([*reviews, *rollbacks], key=lambda row: str(row["at"]), reverse=True)
    return {"feedback": rows[: query.limit]}


def _reviewed(record: ChangeRecord) -> Iterator[dict[str, Any]]:
    for each in record.decisions:
        if each.comment:
            yield {
                "kind": "review",
                "pipeline": record.pipeline,
                "digest": record.digest,
                "author": each.reviewer,
                "said": each.decision,
                "text": each.comment,
                "at": each.at,
            }


def _rolled_back(record: RollbackRecord) -> dict[str, Any]:
    return {
        "kind": "rollback",
        "pipeline": record.pipeline,
        "digest": record.from_digest,
        "author": record.author,
        "said": "rollback",
        "text": record.reason,
        "at": record.at,
    }
