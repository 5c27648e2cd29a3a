"""One rollout a pipeline at a time."""

from __future__ import annotations

from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.ports import Guardrail


async def under_way(pipeline: str, at: Guardrail) -> RolloutRecord | None:
    """The rollout that a pipeline has at present; one that is only watched does not count."""
    found = await at.rollouts.latest(pipeline, unclosed_only=True, limit=20)
    return next((each for each in found if each.is_open), None)
