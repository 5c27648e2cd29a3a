"""Asymptotic confidence sequences: valid at every look once there are enough observations, for any values of finite variance.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences", Annals of
Statistics 2024, 52:2613 (theorem 2.2 two-sided; one-sided in its appendix on one-sided sequences). Narrower than betting from a
few dozen observations on; below that it only approximates, so too few are `no_data`: looked at from 30 observations of a 0.9
proportion on, it would alarm falsely in 10% instead of 5%. Skewed values need more (the rule of Kohavi et al., "Seven rules of
thumb for web site experimenters", KDD 2014, with a factor measured here: docs/evidence.md)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from shared.errors import InvalidInputError
from shared.evidence.outcomes import Outcome, all_finite, require_level

AT_LEAST = 30
"""Observations an arm below which nothing is said."""
A_SQUARED_SKEWNESS = 25
"""Observations an arm that each unit of squared skewness asks for."""
TUNED_FOR = 500
"""Observations at which the sequence is narrowest, in both arms together."""
Side = Literal["both", "lower", "upper"]


@dataclass(frozen=True)
class Running:
    """Count, mean, sums of squared and cubed deviations (Welford 1962; Pebay 2008, SAND2008-6212). Immutable plain numbers."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    cubes: float = 0.0
    not_finite: int = 0

    @property
    def variance(self) -> float:
        return self.squares / (self.count - 1) if self.count > 1 else 0.0

    @property
    def enough_from(self) -> float:
        """Observations from which the approximation is trusted; infinite where all values are equal."""
        squared_skewness = self.count * self.cubes**2 / self.squares**3 if self.squares > 0 else math.inf
        return max(AT_LEAST, A_SQUARED_SKEWNESS * squared_skewness)

    def then(self, value: float) -> Running:
        if not math.isfinite(value):
            return replace(self, not_finite=self.not_finite + 1)
        count = self.count + 1
        gap = value - self.mean
        squares = self.squares + gap * gap * self.count / count
        cubes = self.cubes + gap**3 * self.count * (count - 2) / count**2 - 3 * gap * self.squares / count
        return Running(count, self.mean + gap / count, squares, cubes, self.not_finite)

    def then_all(self, values: Sequence[float]) -> Running:
        """`then` for each value, in one go."""
        if not values or not all_finite(values):
            return functools.reduce(Running.then, values, self)
        x = np.asarray(values, dtype=np.float64)
        many, off = len(values), x - x.mean()
        count, gap = self.count + many, float(x.mean()) - self.mean
        squares, cubes = float((off**2).sum()), float((off**3).sum())
        between = gap * gap * self.count * many / count
        skew = gap * between * (self.count - many) / count + 3 * gap * (self.count * squares - many * self.squares) / count
        mean = self.mean + gap * many / count
        return Running(count, mean, self.squares + squares + between, self.cubes + cubes + skew, self.not_finite)


@dataclass(frozen=True)
class AsymptoticBounds:
    """Infinite unless the outcome is `ok`; the open end of a one-sided sequence is infinite too."""

    outcome: Outcome
    mean: float
    low: float
    high: float
    observations: int


def asymptotic_mean(seen: Running, alpha: float, *, side: Side = "both", tuned_for: float = TUNED_FOR) -> AsymptoticBounds:
    """Of one mean. No variance seen is `no_data`: it would claim certainty."""
    half = math.sqrt(seen.variance) * radius(seen.count, alpha, side, tuned_for) if seen.count else 0.0
    return _bounds((seen,), seen.mean, half, side)


def asymptotic_gain(
    candidate: Running,
    incumbent: Running,
    alpha: float,
    *,
    side: Side = "both",
    tuned_for: float = TUNED_FOR,
) -> AsymptoticBounds:
    """Of the candidate's mean minus the incumbent's, independent arms; time is the observations of both together."""
    total = candidate.count + incumbent.count
    half = 0.0
    if candidate.count and incumbent.count:
        variance = candidate.variance / candidate.count + incumbent.variance / incumbent.count
        half = math.sqrt(variance * total) * radius(total, alpha, side, tuned_for)
    return _bounds((candidate, incumbent), candidate.mean - incumbent.mean, half, side)


def radius(count: int, alpha: float, side: Side, tuned_for: float) -> float:
    """Half width for a standard deviation of 1. Two-sided: sqrt(2 (t r + 1) / (t^2 r) log(sqrt(t r + 1) / alpha)) with r = rho^2;
    one-sided: log(1 + sqrt(t r + 1) / (2 alpha)) instead of the logarithm."""
    require_level(alpha)
    if not tuned_for > 0:
        raise InvalidInputError(f"tuned_for is above 0, not {tuned_for}")
    rho = _rho_squared(alpha if side == "both" else 2 * alpha, tuned_for)
    grown = math.sqrt(count * rho + 1)
    logarithm = math.log(grown / alpha) if side == "both" else math.log1p(grown / (2 * alpha))
    return math.sqrt(2 * (count * rho + 1) / (count * count * rho) * logarithm)


def _rho_squared(alpha: float, tuned_for: float) -> float:
    """The paper's appendix: rho^2 = (-2 log a + log(1 - 2 log a)) / t is nearly the narrowest at t."""
    return (-2 * math.log(alpha) + math.log1p(-2 * math.log(alpha))) / tuned_for


def _bounds(arms: tuple[Running, ...], mean: float, half: float, side: Side) -> AsymptoticBounds:
    observations = sum(arm.count for arm in arms)
    if any(arm.not_finite for arm in arms):
        return AsymptoticBounds("not_finite", mean, -math.inf, math.inf, observations)
    if half <= 0 or any(arm.count < arm.enough_from for arm in arms):
        return AsymptoticBounds("no_data", mean, -math.inf, math.inf, observations)
    low = -math.inf if side == "upper" else mean - half
    return AsymptoticBounds("ok", mean, low, math.inf if side == "lower" else mean + half, observations)
