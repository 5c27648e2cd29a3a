"""How long a search still takes, as far as that can be said. Pure."""

from __future__ import annotations

FEWEST_RUNS = 10
FEWEST_SECONDS = 5.0
"""Below these a pace is a guess."""


def seconds_left(evaluations: int, ran: int, seconds: float, time_left: float | None) -> float | None:
    """For so many `evaluations`, at the pace of `ran` in `seconds`; never more than `time_left`. None where nobody can tell."""
    if ran < FEWEST_RUNS or seconds < FEWEST_SECONDS:
        return None
    needed = max(0, evaluations) * seconds / ran
    return needed if time_left is None else min(needed, max(0.0, time_left))
