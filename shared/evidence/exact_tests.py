"""Exact paired tests of "no difference": McNemar for wins and losses, sign flips for graded differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shared.errors import InvalidInputError
from shared.evidence.flips import TIE, all_flips, sampled_flips
from shared.evidence.outcomes import Outcome, all_finite
from shared.evidence.paired import binomial_tail

EXACT_FLIPS_UP_TO = 16
"""Differences other than 0 up to which all sign patterns are counted (65,536)."""
FLIPS = 20_000


@dataclass(frozen=True)
class TailTest:
    """p-values are 1 unless the outcome is `ok`; none is ever 0."""

    outcome: Outcome
    p_better: float
    p_worse: float
    discordant: int
    method: Literal["mcnemar", "mcnemar_mid_p", "sign_flip_exact", "sign_flip_sampled", "none"]

    @property
    def p_two_sided(self) -> float:
        """Twice the smaller tail: valid for any null distribution, symmetric or not."""
        return min(1.0, 2 * min(self.p_better, self.p_worse))


def mcnemar_test(wins: int, losses: int, *, mid_p: bool = False) -> TailTest:
    """`wins` and `losses` of discordant pairs are Binomial(n, 1/2) (McNemar 1947, Psychometrika 12:153; exact since Edwards 1948).

    `mid_p` counts half of the seen value's probability (Lancaster 1961; Fagerland, Lydersen and Laake 2013, BMC Med Res Methodol
    13:91): more power, but the level holds only on average. No discordant pair is `no_data`.
    Raises `InvalidInputError`: negative counts."""
    if min(wins, losses) < 0:
        raise InvalidInputError(f"counts are not negative: {wins} wins, {losses} losses")
    total = wins + losses
    if not total:
        return TailTest("no_data", 1.0, 1.0, 0, "none")
    better, worse = (_tail(count, total, mid_p) for count in (wins, losses))
    return TailTest("ok", better, worse, total, "mcnemar_mid_p" if mid_p else "mcnemar")


def sign_flip_test(differences: Sequence[float], *, seed: int = 0, flips: int = FLIPS) -> TailTest:
    """Candidate minus incumbent on the same cases; exact up to 16 differences other than 0, then `flips` seeded patterns.

    The order of the cases does not matter. NaN or infinity is `not_finite`; nothing that differs is `no_data`."""
    if not all_finite(differences):
        return TailTest("not_finite", 1.0, 1.0, 0, "none")
    moved = np.sort(np.asarray([value for value in differences if abs(value) > TIE], dtype=np.float64))
    if not len(moved):
        return TailTest("no_data", 1.0, 1.0, 0, "none")
    if len(moved) <= EXACT_FLIPS_UP_TO:
        return TailTest("ok", *all_flips(moved), len(moved), "sign_flip_exact")
    return TailTest("ok", *sampled_flips(moved, flips, seed), len(moved), "sign_flip_sampled")


def _tail(count: int, total: int, mid_p: bool) -> float:
    tail = binomial_tail(count, total)
    return (tail + binomial_tail(count + 1, total)) / 2 if mid_p else tail
