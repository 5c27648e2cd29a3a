"""How large a paired gain is: an exact-test-compatible interval for 0/1 grades, a BCa bootstrap for graded ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from shared.errors import InvalidInputError
from shared.evidence.outcomes import Outcome, all_finite, require_level, require_range

RESAMPLES = 4_000
_NODES = (np.arange(256) + 0.5) / 256
_TINY = 1e-300
_HALVINGS = 40
_NORMAL = NormalDist()

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """[-1, 1] unless the outcome is `ok`. Each end is a one-sided bound at 1 - alpha."""

    outcome: Outcome
    gain: float
    low: float
    high: float
    cases: int
    method: Literal["melded", "bca", "none"]


def paired_effect(candidate: Sequence[float], incumbent: Sequence[float], alpha: float, *, seed: int = 0) -> Effect:
    """Gain of the candidate on the same cases in the same order. Raises `InvalidInputError`: unpaired, outside [0, 1], alpha."""
    require_level(alpha)
    differences = paired_differences(candidate, incumbent)
    if differences is None or not differences:
        return Effect("no_data" if differences is not None else "not_finite", 0.0, -1.0, 1.0, len(candidate), "none")
    gain = math.fsum(differences) / len(differences)
    if is_binary(candidate) and is_binary(incumbent):
        wins, losses = differences.count(1.0), differences.count(-1.0)
        return Effect("ok", gain, *melded_interval(wins, losses, len(differences), alpha), len(differences), "melded")
    return Effect("ok", gain, *bca_interval(differences, alpha, seed=seed), len(differences), "bca")


def paired_differences(candidate: Sequence[float], incumbent: Sequence[float]) -> list[float] | None:
    """None where a grade is not finite. Raises `InvalidInputError` for unpaired grades or grades outside [0, 1]."""
    if len(candidate) != len(incumbent):
        raise InvalidInputError(f"{len(candidate)} grades of the candidate are not paired with {len(incumbent)} of the incumbent")
    if not (all_finite(candidate) and all_finite(incumbent)):
        return None
    for grade in (*candidate, *incumbent):
        require_range(grade, 0.0, 1.0, "a grade")
    return [float(ours) - float(theirs) for ours, theirs in zip(candidate, incumbent, strict=True)]


def is_binary(grades: Sequence[float]) -> bool:
    return all(grade in (0.0, 1.0) for grade in grades)


@lru_cache(maxsize=4096)  # a curve of gains asks for dozens, 10 ms each, and searches after another for the same ones
def melded_interval(wins: int, losses: int, cases: int, alpha: float) -> tuple[float, float]:
    """Bounds of the gain, each one-sided at 1 - alpha, that agree with McNemar's exact test.

    Fay and Lumbard (Stat Med 2021, 40:1147): the gain is (share of pairs that differ) times (2 times share of wins among them - 1);
    the exact confidence distributions of both shares are melded, so the lower end is above 0 exactly where p < alpha."""
    low = _crossing(_melded(wins, losses, cases), alpha)
    high = -_crossing(_melded(losses, wins, cases), alpha)
    return low, high


def melded_p_value(wins: int, losses: int, cases: int, gain: float) -> float:
    """One-sided p-value of "the true gain is at most `gain`"; at 0 it is McNemar's exact p-value."""
    return _melded(wins, losses, cases)(gain)


def _melded(wins: int, losses: int, cases: int) -> Callable[[float], float]:
    if min(wins, losses) < 0 or wins + losses > cases or not cases:
        raise InvalidInputError(f"{wins} wins and {losses} losses do not fit {cases} cases")
    moved = wins + losses
    if wins == 0:
        return lambda gain: 1.0 if gain >= 0 else float(_beta_above(moved + 1, cases - moved, np.asarray([-gain]))[0])
    at_half = float(special.betainc(wins, losses + 1, 0.5))
    ahead = np.maximum(2 * special.betaincinv(wins, losses + 1, at_half + (1 - at_half) * _NODES) - 1, _TINY)
    behind = np.maximum(1 - 2 * special.betaincinv(wins, losses + 1, at_half * _NODES), _TINY)

    def p_value(gain: float) -> float:
        if gain < 0:
            return at_half * float(np.mean(_beta_above(moved + 1, cases - moved, -gain / behind)))
        below = special.betainc(moved, cases - moved + 1, np.minimum(1.0, gain / ahead))
        return at_half + (1 - at_half) * float(np.mean(below))

    return p_value


def bca_interval(values: Sequence[float], alpha: float, *, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Bias-corrected accelerated bootstrap of the mean (Efron, JASA 1987, 82:171), each end one-sided at 1 - alpha.

    The order of the values does not matter. Where all are equal a bootstrap would claim certainty: the share of cases that may
    differ unseen is at most 1 - alpha^(1/n) (Clopper and Pearson 1934), and they may differ by 1."""
    array = np.sort(np.asarray(values, dtype=np.float64))
    if array[0] == array[-1]:
        unseen = 1 - alpha ** (1 / len(array))
        return max(-1.0, float(array[0]) - unseen), min(1.0, float(array[0]) + unseen)
    chosen = np.random.default_rng(seed).integers(0, len(array), size=(resamples, len(array)))
    means = array[chosen].mean(axis=1)
    seen = float(array.mean())
    bias = _NORMAL.inv_cdf(_inside((np.mean(means < seen) + np.mean(means <= seen)) / 2, resamples))
    pulls = array - seen
    acceleration = float(np.sum(pulls**3) / (6 * np.sum(pulls**2) ** 1.5))
    low, high = (_corrected(_NORMAL.inv_cdf(tail), bias, acceleration, resamples) for tail in (alpha, 1 - alpha))
    return float(np.quantile(means, low)), float(np.quantile(means, high))


def _corrected(z: float, bias: float, acceleration: float, resamples: int) -> float:
    """Efron (1987): the percentile to read instead of z's own."""
    return _inside(_NORMAL.cdf(bias + (bias + z) / (1 - acceleration * (bias + z))), resamples)


def _inside(share: float, resamples: int) -> float:
    return min(max(float(share), 1 / (resamples + 1)), resamples / (resamples + 1))


def _beta_above(a: float, b: float, at: Array) -> Array:
    """P(Beta(a, b) >= at), with b = 0 all mass at 1."""
    return np.where(at <= 1, 1.0, 0.0) if b == 0 else np.asarray(special.betaincc(a, b, np.minimum(1.0, at)), dtype=np.float64)


def _crossing(p_value: Callable[[float], float], alpha: float) -> float:
    """The largest gain in [-1, 1] that is refuted at `alpha`; p-values grow with the gain."""
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) < alpha else (low, middle)
    return low
