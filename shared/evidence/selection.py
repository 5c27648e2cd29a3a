"""What may be claimed of a gain that was shown: tests let luck pass more easily than bad luck, so what passed looks too good."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from shared.evidence.paired import PairedTest, binomial_ways

_STEPS = 60
"""Halvings of an interval: to the last digit of a float."""
_DIGITS = 9
"""Of what is claimed: halving ends a hair beside round numbers, as 0.33999999999999986 for 0.34."""


def claimable_gain(test: PairedTest, alpha: float) -> float:
    """The likeliest gain, given that `test` was passed at `alpha`: the conditional maximum-likelihood estimate of what was selected
    by a threshold (Zhong and Prentice, Biostatistics 2008, 9:621; Ghosh, Zou and Wright, Am J Hum Genet 2008, 82:1064).

    Never above the gain that was seen, nor below the lower end of its interval or 0: a test that was passed says that much. 0/1
    grades: wins among the discordant pairs are binomial, cut off below the fewest that pass; others: normal, with the interval's
    spread. A test that was not passed selected nothing: the gain as it was seen."""
    if test.p_value_better >= alpha or test.gain <= 0.0:
        return test.gain
    likeliest = _of_wins(test, alpha) if test.method == "mcnemar" else _of_mean(test, alpha)
    return min(test.gain, max(round(likeliest, _DIGITS), test.gain_low, 0.0))


def _of_wins(test: PairedTest, alpha: float) -> float:
    pairs = test.discordant
    wins = round((pairs + test.gain * test.cases) / 2)
    passing = _passing(pairs, alpha)
    share = _solved(lambda share: _mean_among(passing, pairs, share), wins, 0.0, wins / pairs)
    return pairs * (2 * share - 1) / test.cases


def _passing(pairs: int, alpha: float) -> list[tuple[int, float]]:
    """(wins, logarithm of the number of ways to them) of all that pass, from the most to the fewest."""
    found, tail = [], 0
    for wins, ways in zip(range(pairs, -1, -1), binomial_ways(pairs), strict=True):  # as many ways to so many losses
        tail += ways
        if tail / (1 << pairs) >= alpha:
            break
        found.append((wins, math.log(ways)))
    return found


def _mean_among(passing: Sequence[tuple[int, float]], pairs: int, share: float) -> float:
    """Mean of a binomial that is among `passing`; rises with `share`."""
    if share <= 0.0:
        return passing[-1][0]
    odds = math.log(share) - math.log1p(-share) if share < 1.0 else math.inf
    if math.isinf(odds):
        return pairs
    logs = [ways + wins * odds for wins, ways in passing]
    largest = max(logs)
    weights = [math.exp(each - largest) for each in logs]
    return math.fsum(wins * weight for (wins, _), weight in zip(passing, weights, strict=True)) / math.fsum(weights)


def _of_mean(test: PairedTest, alpha: float) -> float:
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha)
    error = (test.gain_high - test.gain_low) / (2 * z)
    if error <= 0.0:
        return test.gain
    least = min(test.gain, z * error)

    def mean_from_least(gain: float) -> float:
        beyond = (least - gain) / error
        # erfc, since 1 - cdf is 0 from 8 errors on; far out the hazard is its first terms (Mills 1926).
        tail = math.erfc(beyond / math.sqrt(2)) / 2
        return gain + error * (beyond + 1 / beyond if beyond > 30 else normal.pdf(beyond) / tail)

    return _solved(mean_from_least, test.gain, test.gain - 20 * error, test.gain)


def _solved(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2
