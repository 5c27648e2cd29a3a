"""Search, confirm on fresh cases, certify once on sealed ones: what the services do, over any function that scores a candidate."""

from __future__ import annotations

from evoline.optimization.optimizing import optimize
from evoline.optimization.outcome import Evidence, Outcome, Progress

__all__ = ["Evidence", "Outcome", "Progress", "optimize"]
