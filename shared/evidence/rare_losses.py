"""Losses that are large and so rare that no case showed one: a test of signs takes them for impossible.

Signs may be flipped where "not better" means that gains and losses of each size are equally likely, as for 0/1 grades. Graded ones
may gain a little nearly everywhere and lose much now and then: with two points gained on 95% of the cases and 38 lost on the others
nothing is gained, and 20 cases show no loss in 36 of 100 looks, each time with the least possible p-value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

_DRAWS = 20_000
_FEWEST_DRAWS = 2_000
_NUMBERS = 20_000_000
"""Drawn in all, at about which the draws become fewer."""
_AT_ONCE = 1_000_000


def rare_loss_p_value(candidate: Sequence[float | None], incumbent: Sequence[float | None]) -> float:
    """How likely so much gain is if the candidate is on average not better, whatever its differences: randomly weighted means of
    them and of one case on which all is lost (Gaffke, "Three test statistics for a nonparametric one-sided hypothesis on the mean
    of a nonnegative variable", Math Meth Stat 2005; Learned-Miller and Thomas 2020, arXiv 1905.06208). Seeded; p = (1 + count) /
    (1 + draws). None is a failure and counts as 0; 1 for no cases."""
    differences = np.asarray([(a or 0.0) - (b or 0.0) for a, b in zip(candidate, incumbent, strict=True)], dtype=np.float64)
    if not len(differences):
        return 1.0
    values = np.sort(np.append(differences, -1.0))
    draws = max(_FEWEST_DRAWS, min(_DRAWS, _NUMBERS // len(values)))
    generator = np.random.default_rng(len(values))
    rows = max(1, _AT_ONCE // len(values))
    lost, left = 0, draws
    while left:
        count = min(rows, left)
        lost += int(np.count_nonzero(generator.standard_exponential((count, len(values))) @ values <= 0.0))
        left -= count
    return (1 + lost) / (1 + draws)


def cases_against_rare_losses(gain: float, mean_square: float, alpha: float, power: float) -> int:
    """About how many cases show a gain above 0 by `rare_loss_p_value`: the gain of all must make up for one lost case, whose weight
    is drawn too, and for their spread."""
    normal = NormalDist()
    errors = normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)
    spread = errors * math.sqrt(max(0.0, mean_square - gain * gain))
    lost = math.log(1 / alpha) if spread < gain else 1.0
    return math.ceil(((spread + math.sqrt(spread * spread + 4 * gain * lost)) / (2 * gain)) ** 2)
