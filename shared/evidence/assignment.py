"""Sticky assignment: which arm a unit is in depends on the rollout and the unit alone, so no restart and no step moves it."""

from __future__ import annotations

import hashlib
from typing import Literal

from shared.evidence.outcomes import require_range

BUCKETS = 10_000
RAMP = (0.01, 0.05, 0.10, 0.25, 0.50, 1.0)
"""The steps of a rollout (share of units in the canary)."""
Arm = Literal["canary", "control", "outside"]


def bucket_of(salt: str, unit_id: str) -> int:
    """0 to 9,999 by SHA-256 of (salt, unit). Another salt shuffles anew, so one rollout's units are not always the next one's."""
    digest = hashlib.sha256(f"rollout\x00{salt}\x00{unit_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def assign_arm(salt: str, unit_id: str, share: float) -> Arm:
    """Canary from the bottom of the buckets, an equally large control from the top, the rest outside of the comparison.

    Up to 50% a step up only moves units from `outside` into an arm. Above, the canary grows into the control (at 100% all are
    canary); nobody ever leaves the canary on the way up. Raises `InvalidInputError` for a share outside [0, 1]."""
    require_range(share, 0.0, 1.0, "a share")
    size = round(share * BUCKETS)
    bucket = bucket_of(salt, unit_id)
    if bucket < size:
        return "canary"
    return "control" if bucket >= BUCKETS - min(size, BUCKETS - size) else "outside"


def comparison_shares(share: float) -> tuple[float, float]:
    """(canary, control) among the compared units: what `sample_ratio` expects at this step."""
    require_range(share, 0.0, 1.0, "a share")
    size = round(share * BUCKETS)
    control = min(size, BUCKETS - size)
    return (size / (size + control), control / (size + control)) if size else (0.0, 1.0)
