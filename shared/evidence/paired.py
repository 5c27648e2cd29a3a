"""Paired comparison of two pipelines on the same cases: exact for 0/1 grades, permutation for graded ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from shared.errors import InvalidInputError
from shared.evidence.flips import TIE, all_flips, sampled_flips
from shared.evidence.scores import bootstrap_interval, counted, wilson_interval

EXACT_FLIPS_UP_TO = 12
"""Discordant pairs up to which all sign patterns are counted (4,096)."""
_RANDOM_FLIPS = 20_000


@dataclass(frozen=True)
class PairedTest:
    p_value_better: float
    """One-sided: how likely so much gain is if the candidate is not better."""
    p_value_worse: float
    gain: float
    """Mean grade of the candidate minus that of the incumbent."""
    gain_low: float
    """Interval of the gain at confidence 1 - 2 alpha: its lower end is the one-sided 1 - alpha bound."""
    gain_high: float
    discordant: int
    """Cases on which the two differ."""
    cases: int
    method: Literal["mcnemar", "sign_flip_exact", "sign_flip_sampled", "none"]
    mean_square: float = 0.0
    """Of the differences; of 0/1 grades the share that differ."""


def paired_test(candidate: Sequence[float | None], incumbent: Sequence[float | None], alpha: float) -> PairedTest:
    """Compares grades of the same cases in the same order; None is a failure and counts as 0.

    0/1 grades: McNemar's exact one-sided test (McNemar 1947; Edwards 1948), interval of Newcombe (1998, method 10).
    Graded: paired sign-flip permutation test (Fisher 1935), all patterns up to 12 discordant pairs, above 20,000 seeded
    patterns with p = (1 + count) / (1 + patterns) (Phipson and Smyth 2010), and a percentile bootstrap of the mean difference.
    No cases: p-values 1 and the interval [-1, 1]. Raises `InvalidInputError`: unequal lengths, grades outside [0, 1], alpha."""
    if len(candidate) != len(incumbent):
        raise InvalidInputError(f"{len(candidate)} grades of the candidate are not paired with {len(incumbent)} of the incumbent")
    if not 0.0 < alpha < 0.5:
        raise InvalidInputError(f"alpha is in (0, 0.5), not {alpha}")
    ours, theirs = counted(candidate), counted(incumbent)
    if not ours:
        return PairedTest(1.0, 1.0, 0.0, -1.0, 1.0, 0, 0, "none")
    binary = all(value in (0.0, 1.0) for value in (*ours, *theirs))
    return _binary(ours, theirs, alpha) if binary else _graded(ours, theirs, alpha)


def required_cases(gain: float, discordance: float, alpha: float, power: float) -> int:
    """Cases that show a `gain` with `power`, one-sided at `alpha`, where a share `discordance` of cases differ.

    Connor (Biometrics 1987, 43:207). `discordance` is raised to `gain`, its least possible value. 0 for a gain of 0 or less:
    no number of cases shows it. Raises `InvalidInputError` for shares outside (0, 1)."""
    if not (0.0 < alpha < 1.0 and 0.0 < power < 1.0 and gain <= 1.0 and 0.0 <= discordance <= 1.0):
        raise InvalidInputError("alpha and power are in (0, 1), discordance and gain at most 1")
    return _cases_for(gain, max(discordance, gain), alpha, power)


def further_cases(gain: float, mean_square: float, cases: int, levels: tuple[float, float]) -> int:
    """Cases beyond `cases`, at least one, that would show the `gain` that was seen, graded or not; 0 for none seen.

    `levels`: alpha, one-sided, and power. Connor's formula with the mean square of the differences instead of the share that
    differ, which it is for 0/1 grades: graded ones differ nearly everywhere by little, and that share would ask for many times
    too many."""
    if gain <= 0.0 or not cases:
        return 0
    return max(1, _cases_for(gain, max(mean_square, gain * gain), *levels) - cases)


def _cases_for(gain: float, mean_square: float, alpha: float, power: float) -> int:
    if gain <= 0.0:
        return 0
    normal = NormalDist()
    spread = normal.inv_cdf(1 - alpha) * math.sqrt(mean_square)
    spread += normal.inv_cdf(power) * math.sqrt(mean_square - gain * gain)
    return max(1, math.ceil((spread / gain) ** 2))


def binomial_tail(successes: int, trials: int) -> float:
    """P(X >= successes) for X binomial with probability 1/2; exact in integers."""
    failures = trials - max(0, successes)
    ways = sum(itertools.islice(binomial_ways(trials), max(0, failures + 1)))
    return min(1.0, ways / (1 << trials))


def binomial_ways(trials: int) -> Iterator[int]:
    """Ways to 0, 1, ... `trials` successes, each from the one before: `math.comb` for each takes seconds from a thousand on."""
    ways = 1
    for count in range(trials + 1):
        yield ways
        ways = ways * (trials - count) // (count + 1)


def _binary(ours: Sequence[float], theirs: Sequence[float], alpha: float) -> PairedTest:
    wins = sum(a > b for a, b in zip(ours, theirs, strict=True))
    losses = sum(a < b for a, b in zip(ours, theirs, strict=True))
    both = sum(a == b == 1.0 for a, b in zip(ours, theirs, strict=True))
    low, high = newcombe_interval(both, wins, losses, len(ours) - both - wins - losses, alpha)
    return PairedTest(
        p_value_better=binomial_tail(wins, wins + losses),
        p_value_worse=binomial_tail(losses, wins + losses),
        gain=(wins - losses) / len(ours),
        gain_low=low,
        gain_high=high,
        discordant=wins + losses,
        cases=len(ours),
        method="mcnemar",
        mean_square=(wins + losses) / len(ours),
    )


def newcombe_interval(both: int, wins: int, losses: int, neither: int, alpha: float) -> tuple[float, float]:
    """Interval at confidence 1 - 2 alpha of a difference of paired proportions (Newcombe, Stat Med 1998, 17:2635, method 10)."""
    cases = both + wins + losses + neither
    z = NormalDist().inv_cdf(1 - alpha)
    first, second = (both + wins) / cases, (both + losses) / cases
    low_1, high_1 = wilson_interval(first, cases, z)
    low_2, high_2 = wilson_interval(second, cases, z)
    phi = _correlation(both, wins, losses, neither)
    down = _joined(first - low_1, high_2 - second, phi)
    up = _joined(high_1 - first, second - low_2, phi)
    return max(-1.0, first - second - down), min(1.0, first - second + up)


def _correlation(both: int, wins: int, losses: int, neither: int) -> float:
    """Phi with Newcombe's continuity correction of the numerator."""
    margins = (both + wins) * (losses + neither) * (both + losses) * (wins + neither)
    if margins == 0:
        return 0.0
    numerator: float = both * neither - wins * losses
    if numerator > 0:
        numerator = max(0.0, numerator - (both + wins + losses + neither) / 2)
    return numerator / math.sqrt(margins)


def _joined(a: float, b: float, correlation: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))


def _graded(ours: Sequence[float], theirs: Sequence[float], alpha: float) -> PairedTest:
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    moved = np.asarray([value for value in differences if abs(value) > TIE], dtype=np.float64)
    exact = len(moved) <= EXACT_FLIPS_UP_TO
    better, worse = all_flips(moved) if exact else sampled_flips(moved, _RANDOM_FLIPS, seed=len(moved))
    low, high = _gain_interval(differences, alpha)
    return PairedTest(
        p_value_better=better,
        p_value_worse=worse,
        gain=math.fsum(differences) / len(differences),
        gain_low=low,
        gain_high=high,
        discordant=len(moved),
        cases=len(differences),
        method="sign_flip_exact" if exact else "sign_flip_sampled",
        mean_square=math.fsum(value * value for value in differences) / len(differences),
    )


def _gain_interval(differences: Sequence[float], alpha: float) -> tuple[float, float]:
    if max(differences) - min(differences) > TIE:
        return bootstrap_interval(differences, 1 - 2 * alpha)
    # All alike: a bootstrap would claim certainty. The share that may differ unseen is at most 1 - alpha^(1/n).
    unseen = 1 - alpha ** (1 / len(differences))
    return max(-1.0, differences[0] - unseen), min(1.0, differences[0] + unseen)
