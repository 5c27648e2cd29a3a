"""Confidence sequence by betting: all means that no bet has refuted yet. Valid at every look, at any number of observations.

Hedged capital, predictable plug-in bets (Waudby-Smith and Ramdas, JRSS B 2024, 86:1), on a grid of means; running intersection."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.evidence.betting import TRUNCATION, Array, Past, plug_in_bet
from shared.evidence.outcomes import Outcome, require_level, require_range

GRID = 500
Flags = NDArray[np.bool_]
Side = Literal["both", "lower", "upper"]


@dataclass(frozen=True)
class ConfidenceSequence:
    """Immutable plain numbers. Only means that are still possible carry a capital, so it shrinks as the interval does."""

    alpha: float
    side: Side
    steps: int
    first: int
    """Grid index of the lowest mean that is still possible."""
    log_above: tuple[float, ...]
    log_below: tuple[float, ...]
    past: Past = field(default_factory=Past)
    not_finite: int = 0


@dataclass(frozen=True)
class Bounds:
    """The whole range unless the outcome is `ok`; `mismatch`: no constant mean explains the values (they drift)."""

    outcome: Outcome
    low: float
    high: float
    mean: float
    observations: int


def start_sequence(alpha: float, side: Side = "both", steps: int = GRID) -> ConfidenceSequence:
    """`both` splits alpha in halves; a one-sided sequence spends it on one end. The grid's error is always outward."""
    require_level(alpha)
    return ConfidenceSequence(alpha, side, steps, 0, (0.0,) * (steps + 1), (0.0,) * (steps + 1))


def extend(state: ConfidenceSequence, value: float) -> ConfidenceSequence:
    """The state after one more value in [0, 1]. A value that is not finite is counted, and then nothing is `ok` any more."""
    if not math.isfinite(value):
        return replace(state, not_finite=state.not_finite + 1)
    require_range(value, 0.0, 1.0, "a value")
    share = state.alpha / 2 if state.side == "both" else state.alpha
    means = np.arange(state.first, state.first + len(state.log_above)) / state.steps
    bet, pull = plug_in_bet(state.past, share), value - means
    above = np.asarray(state.log_above) + np.log1p(_truncated(bet, means) * pull)
    below = np.asarray(state.log_below) + np.log1p(-_truncated(bet, 1 - means) * pull)
    possible = np.flatnonzero(_not_refuted(above, below, state.side, -math.log(share)))
    kept = slice(possible[0], possible[-1] + 1) if len(possible) else slice(0, 0)
    return replace(
        state,
        first=state.first + int(kept.start),
        log_above=tuple(above[kept].tolist()),
        log_below=tuple(below[kept].tolist()),
        past=state.past.then(value),
    )


def bounds(state: ConfidenceSequence) -> Bounds:
    count = state.past.count
    mean = state.past.total / count if count else 0.5
    if state.not_finite or not count:
        return Bounds("not_finite" if state.not_finite else "no_data", 0.0, 1.0, mean, count)
    if not state.log_above:
        return Bounds("mismatch", 0.0, 1.0, mean, count)
    last = state.first + len(state.log_above) - 1
    return Bounds("ok", max(0, state.first - 1) / state.steps, min(state.steps, last + 1) / state.steps, mean, count)


def _truncated(bet: float, room: Array) -> Array:
    """No bet may lose more than the truncation's share, however close the mean is to the end."""
    return np.minimum(bet, TRUNCATION / np.maximum(room, 1e-12))


def _not_refuted(above: Array, below: Array, side: Side, limit: float) -> Flags:
    if side == "both":
        return np.maximum(above, below) < limit
    return (above if side == "lower" else below) < limit
