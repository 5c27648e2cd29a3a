"""Sample-ratio mismatch: are the arms as large as the assignment says? If not, nothing measured on them counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from shared.errors import InvalidInputError
from shared.evidence.outcomes import Outcome, all_finite

MISMATCH_BELOW = 0.001
AT_LEAST_AN_ARM = 8
"""Expected and seen units an arm, from which the chi-square approximation is used."""


@dataclass(frozen=True)
class SampleRatio:
    outcome: Outcome
    p_value: float
    """1 where nothing was computed."""


def sample_ratio(counts: Sequence[int], shares: Sequence[float]) -> SampleRatio:
    """Pearson's chi-square (1900) of units an arm against the assigned shares; `mismatch` where p < 0.001.

    Why it comes first: Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments", KDD 2019. A unit in an
    arm of share 0 is a mismatch whatever the number. An arm with fewer than 8 units both seen and expected is `no_data`. Where
    fewer than 8 are expected but more were seen, two arms are judged by the exact binomial; more arms are `no_data`.
    Raises `InvalidInputError`: fewer than two arms, unequal lengths, negative counts, shares that do not add up to 1."""
    if not all_finite([*counts, *shares]):
        return SampleRatio("not_finite", 1.0)
    _refuse_nonsense(counts, shares)
    if any(count and not share for count, share in zip(counts, shares, strict=True)):
        return SampleRatio("mismatch", 0.0)
    total = sum(counts)
    open_arms = [(count, total * share) for count, share in zip(counts, shares, strict=True) if share]
    if len(open_arms) < 2 or min(max(count, expected) for count, expected in open_arms) < AT_LEAST_AN_ARM:
        return SampleRatio("no_data", 1.0)
    if min(expected for _, expected in open_arms) >= AT_LEAST_AN_ARM:
        distance = math.fsum((count - expected) ** 2 / expected for count, expected in open_arms)
        p_value = float(special.chdtrc(len(open_arms) - 1, distance))
    elif len(open_arms) == 2:
        p_value = _binomial_p_value(open_arms[0][0], total, open_arms[0][1] / total)
    else:
        return SampleRatio("no_data", 1.0)
    return SampleRatio("mismatch" if p_value < MISMATCH_BELOW else "ok", p_value)


def _binomial_p_value(count: int, total: int, share: float) -> float:
    """Two-sided as twice the smaller tail (Clopper and Pearson 1934)."""
    at_most = special.bdtr(count, total, share)
    at_least = special.bdtrc(count - 1, total, share) if count else 1.0
    return min(1.0, 2 * float(min(at_most, at_least)))


def _refuse_nonsense(counts: Sequence[int], shares: Sequence[float]) -> None:
    if len(counts) != len(shares) or len(counts) < 2:
        raise InvalidInputError(f"{len(counts)} counts for {len(shares)} shares; at least two arms, one share each")
    if min(counts) < 0 or min(shares) < 0 or not math.isclose(math.fsum(shares), 1.0, abs_tol=1e-9):
        raise InvalidInputError("counts are not negative and the shares add up to 1")
