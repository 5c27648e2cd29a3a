"""Sign flips: under "no difference" each paired difference is as likely to have the other sign (Fisher 1935)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TIE = 1e-12
"""Sums closer than this are equal: rounding must not decide which pattern counts."""
_CHUNK = 2_000


def all_flips(moved: NDArray[np.float64]) -> tuple[float, float]:
    """Shares of all 2^n sign patterns whose sum is at least, and at most, the seen one."""
    patterns = np.arange(1 << len(moved))[:, None] >> np.arange(len(moved)) & 1
    sums = (1 - 2 * patterns) @ np.abs(moved)
    seen = float(moved.sum())
    return float(np.mean(sums >= seen - TIE)), float(np.mean(sums <= seen + TIE))


def sampled_flips(moved: NDArray[np.float64], flips: int, seed: int) -> tuple[float, float]:
    """The same from `flips` seeded patterns, with the seen one counted (Phipson and Smyth 2010), so never 0."""
    generator = np.random.default_rng(seed)
    sizes, seen = np.abs(moved), float(moved.sum())
    above = below = drawn = 0
    while drawn < flips:
        size = min(_CHUNK, flips - drawn)
        sums = (1 - 2 * generator.integers(0, 2, size=(size, len(moved)))) @ sizes
        above += int(np.sum(sums >= seen - TIE))
        below += int(np.sum(sums <= seen + TIE))
        drawn += size
    return (1 + above) / (1 + flips), (1 + below) / (1 + flips)
