"""Two arms whose outcomes arrive one by one, in any order and at any ratio: blocks of both make one paired difference each.

A block closes as soon as it holds an outcome of each arm; its difference of means is in [-1, 1] with the gain as its mean. When a
block closes depends on which arm comes, never on what came, so the differences may be bet on (`shared.evidence.betting`) also
while the share of the canary changes, and what drifts in both arms alike cancels within a block. At 50% this keeps about 80% of
the information of perfect pairs; at 1% each canary outcome meets the mean of about 100 of the control's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from shared.evidence.betting import EProcess, Evidence, evidence, observe, start_test
from shared.evidence.confidence_sequence import Bounds, ConfidenceSequence, bounds, extend, start_sequence
from shared.evidence.outcomes import require_range

ComparedArm = Literal["candidate", "incumbent"]


@dataclass(frozen=True)
class Pending:
    count: int = 0
    total: float = 0.0


@dataclass(frozen=True)
class Blocks:
    """Outcomes of the open block: one side only."""

    candidate: Pending = field(default_factory=Pending)
    incumbent: Pending = field(default_factory=Pending)


@dataclass(frozen=True)
class Comparison:
    """Immutable plain numbers: a test of the gain and its confidence sequence. Outcomes are in [0, 1], better is more."""

    test: EProcess
    sequence: ConfidenceSequence
    blocks: Blocks = field(default_factory=Blocks)


def add_outcome(blocks: Blocks, arm: ComparedArm, value: float) -> tuple[Blocks, float | None]:
    """The open block after an outcome, and the difference of the block that it closed."""
    mine: Pending = getattr(blocks, arm)
    grown = replace(blocks, **{arm: Pending(mine.count + 1, mine.total + value)})
    ours, theirs = grown.candidate, grown.incumbent
    if not (ours.count and theirs.count):
        return grown, None
    return Blocks(), ours.total / ours.count - theirs.total / theirs.count


def start_comparison(alpha: float, null_gain: float = 0.0) -> Comparison:
    """`evidence(...).p_above` speaks for a gain above `null_gain`, `p_below` for one below (a margin is a negative null gain)."""
    return Comparison(start_test(as_value(null_gain), alpha), start_sequence(alpha))


def compare(state: Comparison, arm: ComparedArm, value: float) -> Comparison:
    """The state after one outcome in [0, 1] of one arm. Not finite: nothing is `ok` any more."""
    if not math.isfinite(value):
        return replace(state, test=observe(state.test, value), sequence=extend(state.sequence, value))
    require_range(value, 0.0, 1.0, "an outcome")
    blocks, difference = add_outcome(state.blocks, arm, value)
    if difference is None:
        return replace(state, blocks=blocks)
    scaled = min(1.0, max(0.0, as_value(difference)))
    return Comparison(observe(state.test, scaled), extend(state.sequence, scaled), blocks)


def gain_evidence(state: Comparison) -> Evidence:
    return evidence(state.test)


def gain_bounds(state: Comparison) -> Bounds:
    """Confidence sequence of the gain, in [-1, 1]; observations are closed blocks."""
    found = bounds(state.sequence)
    return replace(found, low=2 * found.low - 1, high=2 * found.high - 1, mean=2 * found.mean - 1)


def as_value(gain: float) -> float:
    """A gain in [-1, 1] as a value in [0, 1]."""
    return (gain + 1) / 2
