"""How many cases a paired exact test needs, what a number of cases can show, and how likely. Exact, not by the normal curve.

`required_cases` (`shared.evidence.paired`, Connor 1987) is the quick answer; the exact test needs a few cases more."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy import special

from shared.errors import InvalidInputError
from shared.evidence.outcomes import require_level, require_range
from shared.evidence.paired import required_cases

_HALVINGS = 30
_MOST_CASES = 200_000


def paired_power(cases: int, gain: float, discordance: float, alpha: float) -> float:
    """Chance that McNemar's exact one-sided test at `alpha` shows a true `gain` where a share `discordance` of cases differ.

    Summed over how many pairs differ, Binomial(cases, discordance), and how many of these are won (Duffy, Biometrics 1984,
    40:1005). `discordance` is raised to the gain, its least possible value. Raises `InvalidInputError` for impossible shares."""
    _require_plan(gain, discordance, alpha)
    if cases <= 0:
        return 0.0
    share = max(discordance, abs(gain))
    if share == 0:
        return 0.0
    moved = np.arange(cases + 1, dtype=np.float64)
    differing = special.gammaln(cases + 1) - special.gammaln(moved + 1) - special.gammaln(cases - moved + 1)
    weights = np.exp(differing + special.xlogy(moved, share) + special.xlog1py(cases - moved, -share))
    wins_needed = critical_wins(moved, alpha)
    return float(weights @ _at_least(wins_needed, moved, min(1.0, (1 + gain / share) / 2)))


def exact_cases(gain: float, discordance: float, alpha: float, power: float) -> int:
    """The least number of cases with at least `power`, found from Connor's number; 0 for a gain of 0 or less.

    Power of an exact test rises in a saw-tooth; this is a number at which it is reached and one case less does not reach it."""
    _require_plan(gain, discordance, alpha)
    guess = required_cases(gain, discordance, alpha, power)
    if guess == 0:
        return 0
    if guess > _MOST_CASES:
        raise InvalidInputError(f"a gain of {gain:g} needs more than {_MOST_CASES} cases")
    low, high = 0, guess
    while paired_power(high, gain, discordance, alpha) < power:
        low, high = high, high + max(1, guess // 4)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if paired_power(middle, gain, discordance, alpha) >= power else (middle, high)
    return high


def detectable_gain(cases: int, discordance: float, alpha: float, power: float) -> float | None:
    """The least gain that `cases` show with `power`; None where not even a gain of 1 would show."""
    require_range(power, 0.0, 1.0, "power")
    if paired_power(cases, 1.0, discordance, alpha) < power:
        return None
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if paired_power(cases, middle, discordance, alpha) >= power else (middle, high)
    return high


def detectable_mean_gain(cases: int, mean_square: float, alpha: float, power: float) -> float | None:
    """The least gain of a mean of graded scores that `cases` show with `power`, where differences have this mean square.

    Connor's formula (`further_cases`) solved for the gain: sqrt(n) g = z_a sqrt(s) + z_b sqrt(s - g^2). None where too few
    cases are there for any gain, or so much is more than differences of this size can amount to."""
    require_level(alpha)
    require_range(power, 0.0, 1.0, "power")
    require_range(mean_square, 0.0, 1.0, "mean_square")
    level, chance = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(power)
    beyond = cases + chance**2 - level**2
    if 0.5**cases > alpha or beyond <= 0.0:  # not even if every case is won
        return None
    share = (level * math.sqrt(cases) + chance * math.sqrt(beyond)) / (cases + chance**2)
    return share * math.sqrt(mean_square) if share <= 1.0 else None


def critical_wins(moved: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Least wins among so many discordant pairs that McNemar's exact test shows at `alpha`; above `moved` where none do."""
    wins = np.floor(moved / 2)
    wins += np.floor(-special.ndtri(alpha) * np.sqrt(moved) / 2)
    for _ in range(len(moved) + 64):
        too_few = (_at_least(wins, moved, 0.5) > alpha) & (wins <= moved)
        too_many = (wins > 0) & (_at_least(wins - 1, moved, 0.5) <= alpha)
        if not (too_few | too_many).any():
            break
        wins += too_few.astype(np.float64) - (too_many & ~too_few)
    return wins


def _at_least(wins: NDArray[np.float64], trials: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """P(X >= wins) for X binomial, as an incomplete beta function."""
    inside = np.clip(wins, 1, np.maximum(trials, 1))
    tail = special.betainc(inside, np.maximum(trials, 1) - inside + 1, share)
    return np.where(wins <= 0, 1.0, np.where(wins > trials, 0.0, tail))


def _require_plan(gain: float, discordance: float, alpha: float) -> None:
    require_level(alpha)
    require_range(discordance, 0.0, 1.0, "discordance")
    require_range(gain, -1.0, 1.0, "gain")
