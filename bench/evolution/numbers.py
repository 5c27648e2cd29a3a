"""Intervals of what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from shared.evidence.scores import wilson_interval

CONFIDENCE = 0.95
_RESAMPLES = 10_000


def points(values: Sequence[float]) -> str:
    """Mean in points with Student's interval at 95%: `+12.3 [+9.8, +14.8]`; one value has no interval."""
    if not values:
        return "-"
    mean, half = mean_and_half(values)
    if math.isinf(half):
        return f"{100 * mean:+.1f}"
    return f"{100 * mean:+.1f} [{100 * (mean - half):+.1f}, {100 * (mean + half):+.1f}]"


def points_of_groups(groups: Sequence[Sequence[float]]) -> str:
    """As `points` of all values, where those of a group are alike: only groups are independent (Cochran 1977, 6.4)."""
    values = [value for group in groups for value in group]
    count = sum(map(bool, groups))
    if count < 2:
        return points(values)
    mean = float(np.mean(values))
    spread = sum((sum(group) - mean * len(group)) ** 2 for group in groups) * count / (count - 1)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * math.sqrt(spread) / len(values)
    return f"{100 * mean:+.1f} [{100 * (mean - half):+.1f}, {100 * (mean + half):+.1f}]"


def mean_and_half(values: Sequence[float]) -> tuple[float, float]:
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.inf
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean, float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * error


def median(values: Sequence[float]) -> str:
    """With its distribution-free interval at 95% from order statistics (Thompson 1936): `152 [146, 159]`."""
    ordered, count = sorted(values), len(values)
    outside = int(stats.binom.ppf((1 - CONFIDENCE) / 2, count, 0.5)) - 1
    return f"{np.median(ordered):.0f} [{ordered[max(0, outside)]:.0f}, {ordered[min(count - 1, count - 1 - outside)]:.0f}]"


def share(count: int, total: int) -> str:
    """In percent with Wilson's interval at 95%."""
    if not total:
        return "-"
    low, high = wilson_interval(count / total, total, 1.96)
    return f"{count / total:.1%} [{low:.1%}, {high:.1%}]"


def upper_bound(count: int, total: int) -> float:
    """One-sided, exact (Clopper and Pearson 1934), at 95%."""
    return 1.0 if count == total else float(stats.beta.ppf(CONFIDENCE, count + 1, total - count))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Of the means, paired, with a percentile bootstrap interval at 95% (fixed seed)."""
    pairs = np.asarray([ours, theirs], dtype=np.float64)
    drawn = np.random.default_rng(1).integers(0, pairs.shape[1], (_RESAMPLES, pairs.shape[1]))
    sums = pairs[:, drawn].sum(axis=2)
    low, high = np.quantile(sums[0] / sums[1], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return f"{pairs[0].sum() / pairs[1].sum():.2f} [{low:.2f}, {high:.2f}]"
