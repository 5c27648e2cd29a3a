"""Medians with intervals, and percentiles."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

RESAMPLES = 4000


@dataclass(frozen=True)
class Estimate:
    """A median with its 95% bootstrap interval."""

    middle: float
    low: float
    high: float

    def text(self, digits: int, unit: str = "") -> str:
        return f"{self.middle:.{digits}f}{unit} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def estimate(values: Sequence[float]) -> Estimate:
    """Of the median of `values`, one a round. A few values give a wide interval, one gives itself."""
    rng = random.Random(0)
    medians = sorted(median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return Estimate(median(values), medians[RESAMPLES // 40], medians[-(RESAMPLES // 40)])


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Round by round: what slows the machine for a while slows both."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def percentile(values: Sequence[float], percent: int) -> float:
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]
