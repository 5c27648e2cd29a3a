"""Search, confirm on fresh cases, certify once on sealed ones: what the services do, over any function that scores a candidate."""

from __future__ import annotations

from evoline.optimization import optimizing
from evoline.optimization.given import with_checked_numbers
from evoline.optimization.outcome import Evidence, Outcome, Progress

optimize = with_checked_numbers(optimizing.optimize)

__all__ = ["Evidence", "Outcome", "Progress", "optimize"]
