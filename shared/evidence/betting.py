"""Testing by betting: wealth made by betting against a mean is evidence against it, whenever one looks.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024, 86:1. If values in [0, 1] have
the conditional mean m, a capital that starts at 1 and multiplies by 1 + bet * (value - m) is a nonnegative martingale for every
bet made before the value is seen; it reaches 1/alpha with probability at most alpha, ever (Ville 1939). No independence, no fixed
number of observations and no distribution is assumed: only the bounds, and that the mean stays."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInputError
from shared.evidence.outcomes import Outcome, all_finite, require_level, require_range

TRUNCATION = 0.5
"""Share of the capital that one bet may lose at most (the paper's c)."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """Regularised mean and variance of the values so far as in the plug-in bets: all that a bet may depend on."""

    count: int = 0
    total: float = 0.0
    spread: float = 0.0

    @property
    def variance(self) -> float:
        return (0.25 + self.spread) / (self.count + 1)

    def then(self, value: float) -> Past:
        total = self.total + value
        mean = (0.5 + total) / (self.count + 2)
        return Past(self.count + 1, total, self.spread + (value - mean) ** 2)


@dataclass(frozen=True)
class Leaning:
    """Bets as if before the first value `weight` others had been seen, all 0 or 1, on the side that is bet on by `lean`: 0.7 is
    17 of 20 against a mean of one half. What is then seen outweighs it."""

    weight: float
    lean: float


@dataclass(frozen=True)
class EProcess:
    """Evidence against "the mean is `mean`", for above and for below. Immutable plain numbers: store it, load it, go on."""

    mean: float
    alpha: float
    past: Past = field(default_factory=Past)
    log_above: float = 0.0
    log_below: float = 0.0
    best_above: float = 0.0
    best_below: float = 0.0
    not_finite: int = 0
    leaning: Leaning | None = None
    """How bets are sized; None: the plug-in bets."""
    squares: float = 0.0
    """Of the distances to `mean`; kept where bets lean."""


@dataclass(frozen=True)
class Evidence:
    """p-values hold at every look (1 / largest wealth so far); they are 1 unless the outcome is `ok`."""

    outcome: Outcome
    p_above: float
    """Small: the mean is above."""
    p_below: float
    observations: int

    @property
    def p_two_sided(self) -> float:
        return min(1.0, 2 * min(self.p_above, self.p_below))


def start_test(mean: float, alpha: float, leaning: Leaning | None = None) -> EProcess:
    """A test of a mean in (0, 1). `alpha` only sizes the plug-in bets, for the quickest one-sided decision at that level. Bets that
    lean start at what they expect and go over to what is best for the values seen (the paper's approximation of GRAPA), so that
    they find a small difference, too, which large plug-in bets often miss for ever. Raises `InvalidInputError`."""
    require_level(alpha)
    if not 0.0 < mean < 1.0:
        raise InvalidInputError(f"the mean to test is in (0, 1), not {mean}")
    if leaning and not (leaning.weight > 0.0 and 0.0 <= leaning.lean <= 1.0):
        raise InvalidInputError(f"bets lean with a weight above 0 by 0 to 1, not {leaning}")
    return EProcess(mean, alpha, leaning=leaning)


def observe(state: EProcess, value: float) -> EProcess:
    """The state after one more value in [0, 1]. A value that is not finite is counted, and then nothing is `ok` any more."""
    if not math.isfinite(value):
        return replace(state, not_finite=state.not_finite + 1)
    require_range(value, 0.0, 1.0, "a value")
    pull = value - state.mean
    up, down = _bets(state)
    above = state.log_above + math.log1p(min(up, TRUNCATION / state.mean) * pull)
    below = state.log_below + math.log1p(-min(down, TRUNCATION / (1 - state.mean)) * pull)
    return replace(
        state,
        past=state.past.then(value),
        squares=state.squares + pull * pull if state.leaning else 0.0,
        log_above=above,
        log_below=below,
        best_above=max(state.best_above, above),
        best_below=max(state.best_below, below),
    )


def observe_all(state: EProcess, values: Sequence[float]) -> EProcess:
    """`observe` for each value in order, in one go: the same numbers, and the largest wealth of every look on the way."""
    if not values:
        return state
    if not all_finite(values):
        return functools.reduce(observe, values, state)
    require_range(min(values), 0.0, 1.0, "a value")
    require_range(max(values), 0.0, 1.0, "a value")
    past, x = state.past, np.asarray(values, dtype=np.float64)
    number = np.arange(past.count + 1, past.count + len(values) + 1)
    totals = past.total + np.cumsum(x)
    spreads = past.spread + np.cumsum((x - (0.5 + totals) / (number + 1)) ** 2)
    known = (0.25 + np.concatenate([[past.spread], spreads[:-1]])) / number
    pull = x - state.mean
    squares = state.squares + np.cumsum(pull * pull)
    if state.leaning:
        pulls = np.concatenate([[past.total], totals[:-1]]) - (number - 1) * state.mean
        up, down = _leaning_bets(state.leaning, state.mean, pulls, np.concatenate([[state.squares], squares[:-1]]))
    else:
        up = down = np.sqrt(2 * math.log(1 / state.alpha) / (known * number * np.log1p(number)))
    above = state.log_above + np.cumsum(np.log1p(np.minimum(up, TRUNCATION / state.mean) * pull))
    below = state.log_below + np.cumsum(np.log1p(-np.minimum(down, TRUNCATION / (1 - state.mean)) * pull))
    return replace(
        state,
        past=Past(int(number[-1]), float(totals[-1]), float(spreads[-1])),
        squares=float(squares[-1]) if state.leaning else 0.0,
        log_above=float(above[-1]),
        log_below=float(below[-1]),
        best_above=max(state.best_above, float(above.max())),
        best_below=max(state.best_below, float(below.max())),
    )


def evidence(state: EProcess) -> Evidence:
    if state.not_finite or not state.past.count:
        return Evidence("not_finite" if state.not_finite else "no_data", 1.0, 1.0, state.past.count)
    return Evidence("ok", math.exp(-state.best_above), math.exp(-state.best_below), state.past.count)


def _bets(state: EProcess) -> tuple[float, float]:
    """For above and for below, before truncation."""
    if state.leaning is None:
        bet = plug_in_bet(state.past, state.alpha)
        return bet, bet
    pulls = np.asarray(state.past.total - state.past.count * state.mean)
    up, down = _leaning_bets(state.leaning, state.mean, pulls, np.asarray(state.squares))
    return float(up), float(down)


def _leaning_bets(leaning: Leaning, mean: float, pulls: Array, squares: Array) -> tuple[Array, Array]:
    """Sum of the distances to the mean over the sum of their squares, of what was seen and what was imagined; never below 0."""
    variance = mean * (1 - mean)
    known = leaning.weight * variance + squares
    imagined = leaning.weight * leaning.lean * math.sqrt(variance)
    return np.maximum(0.0, imagined + pulls) / known, np.maximum(0.0, imagined - pulls) / known


def plug_in_bet(past: Past, alpha: float) -> float:
    """Before truncation: what would be best for the variance so far, shrinking like 1/sqrt(t log t)."""
    number = past.count + 1
    return math.sqrt(2 * math.log(1 / alpha) / (past.variance * number * math.log1p(number)))


def log_capitals(values: Array, mean: float, alpha: float) -> tuple[Array, Array]:
    """Log wealth for above and below after each value, for whole sequences at once (time is the last axis).

    The same numbers as `observe` one by one; values are in [0, 1]."""
    number = np.arange(1, values.shape[-1] + 1)
    totals = np.cumsum(values, axis=-1)
    means = (0.5 + totals) / (number + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2, axis=-1)) / (number + 1)
    known = np.concatenate([np.full_like(variances[..., :1], 0.25), variances[..., :-1]], axis=-1)
    bet = np.sqrt(2 * math.log(1 / alpha) / (known * number * np.log1p(number)))
    pull = values - mean
    above = np.log1p(np.minimum(bet, TRUNCATION / mean) * pull)
    below = np.log1p(-np.minimum(bet, TRUNCATION / (1 - mean)) * pull)
    return np.cumsum(above, axis=-1), np.cumsum(below, axis=-1)
