"""Not worse than a stated margin: to be shown, like a gain; "no difference found" shows nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shared.errors import InvalidInputError
from shared.evidence.betting import Array, log_capitals
from shared.evidence.effects import is_binary, melded_interval, melded_p_value, paired_differences
from shared.evidence.outcomes import Outcome, require_level
from shared.evidence.two_arms import as_value

_ORDERS = 64
_HALVINGS = 18


@dataclass(frozen=True)
class NonInferiority:
    outcome: Outcome
    p_value: float
    """Of "the true gain is at most -margin"; 1 unless the outcome is `ok`."""
    shown: bool
    gain: float
    low: float
    """One-sided 1 - alpha bound of the gain; shown exactly where it is above -margin."""
    cases: int
    method: Literal["melded", "betting", "none"]


def non_inferiority_test(
    candidate: Sequence[float], incumbent: Sequence[float], margin: float, alpha: float, *, seed: int = 0
) -> NonInferiority:
    """On the same cases in the same order. The margin is stated before, in (0, 1).

    0/1 grades: melded exact distribution (Fay and Lumbard 2021). Graded: betting against every gain up to -margin (Waudby-Smith
    and Ramdas 2024), the wealth averaged over 64 seeded orders, which keeps it evidence and forgets the order of the cases. A
    sign-flip test of shifted differences is not used: cases that never differed would look like many small gains.
    Raises `InvalidInputError`: unpaired, outside [0, 1], margin, alpha."""
    require_level(alpha)
    if not 0.0 < margin < 1.0:
        raise InvalidInputError(f"a margin is in (0, 1), not {margin}")
    differences = paired_differences(candidate, incumbent)
    if not differences:
        return NonInferiority("not_finite" if differences is None else "no_data", 1.0, False, 0.0, -1.0, len(candidate), "none")
    if is_binary(candidate) and is_binary(incumbent):
        wins, losses = differences.count(1.0), differences.count(-1.0)
        p_value = melded_p_value(wins, losses, len(differences), -margin)
        low = melded_interval(wins, losses, len(differences), alpha)[0]
    else:
        orders = _orders(differences, seed)
        p_value, low = _betting_p_value(orders, -margin, alpha), _betting_low(orders, alpha)
    gain = math.fsum(differences) / len(differences)
    method: Literal["melded", "betting"] = "melded" if is_binary(candidate) and is_binary(incumbent) else "betting"
    return NonInferiority("ok", p_value, p_value < alpha, gain, low, len(differences), method)


def _orders(differences: Sequence[float], seed: int) -> Array:
    values = np.sort((np.asarray(differences, dtype=np.float64) + 1) / 2)
    return np.random.default_rng(seed).permuted(np.tile(values, (_ORDERS, 1)), axis=1)


def _betting_p_value(orders: Array, gain: float, alpha: float) -> float:
    final = log_capitals(orders, as_value(gain), alpha)[0][:, -1]
    largest = float(final.max())
    return min(1.0, math.exp(-largest) / float(np.mean(np.exp(final - largest))))


def _betting_low(orders: Array, alpha: float) -> float:
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _betting_p_value(orders, middle, alpha) < alpha else (low, middle)
    return low
