"""Questions about descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.evolution.domain.records import GAIN
from services.evolution.ports import Descent
from shared.errors import InvalidInputError, NotFoundError, Problem
from shared.events.lineage import GetCandidate, GetLineage

_LONGEST_TEXT = 300
_OF_THE_END = ("seed_digest", "best_digest", "change_id", "verdict", "vetoed_by", *GAIN, "deployed", "evaluations")


async def read_lineage(query: GetLineage, descent: Descent) -> dict[str, Any]:
    """Raises `NotFoundError` where an evolution is named that there is none of."""
    records = await descent.evolutions(query.pipeline, query.evolution_id, query.limit)
    if query.evolution_id is not None and not records:
        raise NotFoundError(f"no evolution {query.evolution_id!r}")
    return {"evolutions": [await _evolution(record, query.candidates, descent) for record in records]}


async def read_candidate(query: GetCandidate, descent: Descent) -> dict[str, Any]:
    """Raises `NotFoundError`, and `InvalidInputError` where several candidates begin so."""
    found = await descent.candidates_like(query.digest, 10)
    digests = sorted({row["digest"] for row in found})
    if not digests:
        raise NotFoundError(f"no candidate {query.digest}")
    if len(digests) > 1:
        reason = f"{query.digest} is the beginning of {', '.join(digest[:16] for digest in digests)}"
        raise InvalidInputError(Problem(path="digest", reason=reason, suggestion="give more digits"))
    row = next((row for row in found if row["operator"] != "seed"), found[0])
    parents = await descent.candidates_like(row["parent"], 1) if row["parent"] else []
    records = await descent.evolutions(None, row["evolution_id"], 1)
    told = ("digest", "parent", "operator", "text", "accepted", "evolution_id")
    return {
        **{key: row[key] for key in told},
        "document": row.get("document"),
        "score": row.get("score"),
        "pipeline": records[0]["pipeline"] if records else "",
        "origins": row.get("origins", []),
        "parent_document": parents[0].get("document") if parents else None,
    }


async def _evolution(record: Mapping[str, Any], most: int, descent: Descent) -> dict[str, Any]:
    rows, left_out = await descent.of_evolution(record["_id"], most)
    so_far = {"evaluations": record.get("progress", {}).get("evaluations")}
    undecided = {**so_far, **record.get("pending", {}), "verdict": None}
    end = {**undecided, **record.get("answer", {})}
    front = {member["digest"] for member in (record.get("trade_offs") or {}).get("front", ())}
    return {
        "evolution_id": record["_id"],
        "pipeline": record["pipeline"],
        "status": record["status"],
        "strategy": record["command"]["strategy"],
        "created_at": record["created_at"],
        **{key: end.get(key) for key in _OF_THE_END},
        "candidates": [{**row, "text": str(row["text"])[:_LONGEST_TEXT], "on_front": row["digest"] in front} for row in rows],
        "left_out": left_out,
    }
