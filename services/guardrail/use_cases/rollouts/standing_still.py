"""Why a rollout may not go up whatever its own evidence says: the one place where the system's state comes in."""

from __future__ import annotations

from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.ports import Guardrail


async def standstill(record: RolloutRecord, at: Guardrail) -> str:
    """Empty where nothing stops it. Guards act all the same: they take away, and that is never frozen."""
    if not at.audit.is_sound:
        return "the audit log is not what it was (`evoline audit verify`)"
    freeze = await at.freeze.holding(record.pipeline, record.domain)
    return f"{freeze.freeze_id} by {freeze.author}: {freeze.reason} (`evoline unfreeze`)" if freeze else ""
