"""What orders and facts say alike."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.events.message import Part
from shared.events.values import Identifier

RunStatus = Literal["succeeded", "degraded", "failed", "refused", "cancelled"]
StepStatus = Literal["ok", "degraded", "skipped", "failed"]
RunPurpose = Literal["production", "trial", "evaluation", "gate", "measure", "meta", "shadow"]
RunArm = Literal["", "canary", "control", "outside"]
"""Of a rollout: `outside` runs the stable revision like `control`, but is not compared. Empty where nothing was assigned."""


class ForkOrigin(Part):
    """Where a forked run comes from."""

    run_id: Identifier
    from_step: str
    """The first step that the fork executes itself."""
    author: str = "anonymous"
    reason: str = ""


class ShadowOrigin(Part):
    """The production run that a shadow run repeats on another revision, and how it ended."""

    run_id: Identifier
    rollout_id: Identifier
    status: RunStatus
    latency_seconds: float = 0.0
    cost_usd: float = 0.0
    most_runs: int = Field(default=0, ge=0)
    """Shadow runs that the rollout may have."""
