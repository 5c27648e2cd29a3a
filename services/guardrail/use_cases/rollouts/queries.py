"""Questions about rollouts."""

from __future__ import annotations

from typing import Any

from services.guardrail.domain.rollout import RolloutRecord, numbers
from services.guardrail.domain.rollout_decisions import sample_of_step
from services.guardrail.ports import Guardrail
from shared.errors import NotFoundError
from shared.events.rollouts import GetRollout, ListRollouts


async def get_rollout(query: GetRollout, at: Guardrail) -> dict[str, Any]:
    record = await at.rollouts.get(query.rollout_id)
    if record is None:
        latest = await at.rollouts.latest(query.rollout_id, unclosed_only=False, limit=1)
        record = latest[0] if latest else None
    if record is None:
        raise NotFoundError(f"there is no rollout {query.rollout_id!r}, and no pipeline of this name had one")
    return {
        **_row(record),
        "step": record.step,
        "step_since": record.step_since,
        "sample_of_step": sample_of_step(record) if record.is_open else 0,
        "plan": record.plan.model_dump(mode="json"),
        "numbers": numbers(record).model_dump(mode="json"),
        "approved_by": record.approved_by,
        "accepted": list(record.accepted),
        "quarantined": list(record.quarantined),
        "watch": {"reference": record.watch.reference, "since": record.watch.since} if record.watch else None,
        "history": [line.model_dump() for line in record.history],
    }


async def list_rollouts(query: ListRollouts, at: Guardrail) -> dict[str, Any]:
    found = await at.rollouts.latest(query.pipeline, unclosed_only=query.open_only, limit=query.limit)
    return {"rollouts": [_row(record) for record in found]}


def _row(record: RolloutRecord) -> dict[str, Any]:
    return {
        "rollout_id": record.rollout_id,
        "pipeline": record.pipeline,
        "stable": record.stable,
        "canary": record.canary,
        "author": record.author,
        "reason": record.reason,
        "change_id": record.change_id,
        "state": record.state,
        "is_over": record.closed,
        "share": record.share,
        "held": record.held,
        "paused_for": record.paused_for,
        "waits_for": record.waits_for,
        "started_at": record.created_at,
        "ended_at": record.ended_at,
    }
