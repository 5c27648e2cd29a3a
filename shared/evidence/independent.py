"""Difference of two means of values in [0, 1] from independent samples: other runs, not the same cases twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from shared.evidence.outcomes import Outcome, all_finite, require_level, require_range
from shared.evidence.scores import wilson_interval


@dataclass(frozen=True)
class Difference:
    """[-1, 1] unless the outcome is `ok`. Each end is a one-sided bound at 1 - alpha."""

    outcome: Outcome
    gain: float
    low: float
    high: float


def independent_difference(ours: Sequence[float], theirs: Sequence[float], alpha: float) -> Difference:
    """Mean of `ours` minus mean of `theirs`. Raises `InvalidInputError`: values outside [0, 1], alpha.

    Newcombe's hybrid score interval (Stat Med 1998, 17:873, method 10). For graded values it is conservative, since none in [0, 1]
    varies more than a 0/1 value of the same mean."""
    require_level(alpha)
    if not (all_finite(ours) and all_finite(theirs)):
        return Difference("not_finite", 0.0, -1.0, 1.0)
    for value in (*ours, *theirs):
        require_range(value, 0.0, 1.0, "an outcome")
    if not ours or not theirs:
        return Difference("no_data", 0.0, -1.0, 1.0)
    z = NormalDist().inv_cdf(1 - alpha)
    first, second = (math.fsum(each) / len(each) for each in (ours, theirs))
    low_1, high_1 = wilson_interval(first, len(ours), z)
    low_2, high_2 = wilson_interval(second, len(theirs), z)
    gain = first - second
    return Difference(
        "ok", gain, gain - math.hypot(first - low_1, high_2 - second), gain + math.hypot(high_1 - first, second - low_2)
    )
