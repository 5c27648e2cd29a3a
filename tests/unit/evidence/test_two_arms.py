from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from shared.errors import InvalidInputError
from shared.evidence.betting import log_capitals
from shared.evidence.two_arms import (
    Blocks,
    ComparedArm,
    Comparison,
    add_outcome,
    as_value,
    compare,
    gain_bounds,
    gain_evidence,
    start_comparison,
)

ALPHA = 0.05


def arrivals(seed: int, count: int, share: float, candidate: float, incumbent: float) -> list[tuple[ComparedArm, float]]:
    generator = np.random.default_rng(seed)
    ours, draws = generator.random(count) < share, generator.random(count)
    return [
        ("candidate", float(draw < candidate)) if mine else ("incumbent", float(draw < incumbent))
        for mine, draw in zip(ours.tolist(), draws.tolist(), strict=True)
    ]


def compared(outcomes: list[tuple[ComparedArm, float]], state: Comparison | None = None) -> Comparison:
    state = state or start_comparison(ALPHA)
    for arm, value in outcomes:
        state = compare(state, arm, value)
    return state


def block_values(outcomes: list[tuple[ComparedArm, float]]) -> list[float]:
    blocks, found = Blocks(), []
    for arm, value in outcomes:
        blocks, difference = add_outcome(blocks, arm, value)
        found += [] if difference is None else [as_value(difference)]
    return found


def padded(rows: list[list[float]]) -> NDArray[np.float64]:
    """To one length with values that move no wealth at a mean of one half."""
    longest = max(map(len, rows))
    return np.asarray([row + [0.5] * (longest - len(row)) for row in rows])


@pytest.mark.parametrize(("share", "count"), [(0.5, 150), (0.1, 300)])
def test_false_alarms_between_equal_arms_stay_below_alpha(share: float, count: int) -> None:
    rows = padded([block_values(arrivals(seed, count, share, 0.8, 0.8)) for seed in range(500)])
    for wealth in log_capitals(rows, 0.5, ALPHA):
        assert np.mean(wealth.max(axis=1) >= math.log(1 / ALPHA)) <= ALPHA


def test_drift_that_both_arms_share_raises_no_alarm_while_the_share_ramps_up() -> None:
    rows = []
    for seed in range(300):
        outcomes: list[tuple[ComparedArm, float]] = []
        for step, share in enumerate((0.05, 0.1, 0.25, 0.5)):
            level = 0.9 - 0.2 * step
            outcomes += arrivals(4 * seed + step, 80, share, level, level)
        rows.append(block_values(outcomes))
    for wealth in log_capitals(padded(rows), 0.5, ALPHA):
        assert np.mean(wealth.max(axis=1) >= math.log(1 / ALPHA)) <= ALPHA


def test_a_drop_of_20_points_is_noticed_within_a_median_of_160_outcomes() -> None:
    noticed = []
    for seed in range(60):
        state, count = start_comparison(ALPHA), 0
        outcomes = arrivals(seed, 400, 0.5, 0.7, 0.9)
        while count < len(outcomes) and gain_evidence(state).p_below >= ALPHA:
            state, count = compare(state, *outcomes[count]), count + 1
        noticed.append(count)
    assert np.median(noticed) <= 160


def test_a_block_closes_at_the_first_outcome_of_the_other_arm() -> None:
    assert block_values([("incumbent", 1.0), ("incumbent", 0.0), ("candidate", 1.0), ("incumbent", 1.0)]) == [0.75]


@pytest.mark.parametrize("arm", ["candidate", "incumbent"])
def test_swapping_the_arms_swaps_the_evidence(arm: Literal["candidate", "incumbent"]) -> None:
    outcomes = arrivals(5, 120, 0.4, 0.6, 0.8)
    swapped: list[tuple[ComparedArm, float]] = [
        ("incumbent" if each == "candidate" else "candidate", value) for each, value in outcomes
    ]
    found, mirrored = compared(outcomes), compared(swapped)
    assert gain_evidence(found).p_below == pytest.approx(gain_evidence(mirrored).p_above)
    assert gain_bounds(found).low == pytest.approx(-gain_bounds(mirrored).high, abs=0.009)


def test_interval_holds_the_true_gain_and_a_restart_changes_nothing() -> None:
    outcomes = arrivals(9, 600, 0.5, 0.6, 0.8)
    found = compared(outcomes)
    interval = gain_bounds(found)
    assert interval.outcome == "ok" and interval.low < -0.2 < interval.high < 0.1
    adapter = TypeAdapter(Comparison)
    restarted = adapter.validate_json(adapter.dump_json(compared(outcomes[:251])))
    assert compared(outcomes[251:], restarted) == found


def test_margin_is_part_of_the_question() -> None:
    outcomes = arrivals(3, 800, 0.5, 0.8, 0.8)
    assert gain_evidence(compared(outcomes)).p_above > ALPHA
    assert gain_evidence(compared(outcomes, start_comparison(ALPHA, null_gain=-0.2))).p_above < ALPHA


def test_one_arm_alone_is_no_data_and_nan_or_nonsense_never_success() -> None:
    assert gain_evidence(compared([("candidate", 1.0)] * 100)).outcome == "no_data"
    broken = compared([*arrivals(1, 300, 0.5, 0.2, 0.9), ("candidate", float("nan"))])
    assert (gain_evidence(broken).outcome, gain_evidence(broken).p_below) == ("not_finite", 1.0)
    assert (gain_bounds(broken).low, gain_bounds(broken).high) == (-1.0, 1.0)
    with pytest.raises(InvalidInputError):
        compare(start_comparison(ALPHA), "candidate", 2.0)
