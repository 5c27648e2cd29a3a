from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from shared.errors import InvalidInputError
from shared.evidence.asymptotic import (
    A_SQUARED_SKEWNESS,
    AT_LEAST,
    TUNED_FOR,
    Running,
    Side,
    asymptotic_gain,
    asymptotic_mean,
    radius,
)

ORACLES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "data" / "evidence_oracles.json").read_text())[
    "gbstats_sequential"
]
ALPHA = 0.05


def running(values: list[float]) -> Running:
    seen = Running()
    for value in values:
        seen = seen.then(value)
    return seen


def arm_of(count: int, successes: int) -> Running:
    """gbstats takes the variance of a proportion as p (1 - p), so the squares are chosen to give that."""
    mean = successes / count
    return Running(count, mean, mean * (1 - mean) * (count - 1))


@pytest.mark.parametrize("row", ORACLES, ids=str)
def test_gain_equals_that_of_gbstats(row: dict[str, Any]) -> None:
    found = asymptotic_gain(arm_of(*row["candidate"]), arm_of(*row["incumbent"]), ALPHA, tuned_for=row["tuned_for"])
    assert (found.low, found.high) == pytest.approx((row["low"], row["high"]), rel=1e-9)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=60))
def test_running_variance_is_that_of_numpy_in_any_order(values: list[float]) -> None:
    for ordered in (values, values[::-1], sorted(values)):
        seen = running(ordered)
        assert (seen.mean, seen.variance) == pytest.approx((np.mean(values), np.var(values, ddof=1)), abs=1e-6)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("side", ["both", "lower", "upper"])
def test_false_alarms_under_continuous_looking_stay_below_alpha(side: Side, share: float) -> None:
    values = (np.random.default_rng(31).random((2000, 600)) < share).astype(float)
    number = np.arange(1, 601)
    means = np.cumsum(values, axis=1) / number
    spread = np.maximum(means * (1 - means), 1e-300)
    half = np.sqrt(spread * number / np.maximum(number - 1, 1)) * [radius(int(count), ALPHA, side, TUNED_FOR) for count in number]
    outside = {"lower": means - half > share, "upper": means + half < share, "both": np.abs(means - share) > half}[side]
    enough = number >= np.maximum(AT_LEAST, A_SQUARED_SKEWNESS * (1 - 2 * means) ** 2 / spread)
    assert np.mean((outside & enough).any(axis=1)) <= ALPHA


def test_skewed_values_need_more_observations_before_anything_is_said() -> None:
    even, skewed = running([0.0, 1.0] * 40), running([1.0] * 76 + [0.0] * 4)
    assert asymptotic_mean(even, ALPHA).outcome == "ok"
    assert skewed.enough_from == pytest.approx(A_SQUARED_SKEWNESS * stats.skew([1.0] * 76 + [0.0] * 4) ** 2)
    assert asymptotic_mean(skewed, ALPHA).outcome == "no_data"
    assert asymptotic_gain(even, skewed, ALPHA).outcome == "no_data"


def test_one_sided_is_tighter_on_its_side_and_open_on_the_other() -> None:
    seen = running(list(np.random.default_rng(0).normal(1.0, 2.0, 200)))
    both, lower, upper = (asymptotic_mean(seen, ALPHA, side=side) for side in ("both", "lower", "upper"))
    assert both.low < lower.low < seen.mean < upper.high < both.high
    assert (lower.high, upper.low) == (math.inf, -math.inf)


def test_it_is_narrowest_for_its_standard_error_near_where_it_is_tuned() -> None:
    at_500 = {tuned: radius(500, ALPHA, "both", tuned) for tuned in (20, 100, 500, 2500, 12500)}
    assert min(at_500, key=lambda tuned: at_500[tuned]) == 500


def test_too_few_no_spread_and_no_numbers_say_nothing() -> None:
    few, flat = running([0.0, 1.0] * 10), running([1.0] * 500)
    sure = running([0.9, 1.0] * 500)
    for found, outcome in (
        (asymptotic_mean(few, ALPHA), "no_data"),
        (asymptotic_mean(flat, ALPHA), "no_data"),
        (asymptotic_mean(Running(), ALPHA), "no_data"),
        (asymptotic_gain(sure, few, ALPHA), "no_data"),
        (asymptotic_mean(sure.then(float("nan")), ALPHA), "not_finite"),
        (asymptotic_gain(sure, sure.then(float("inf")).then(1.0), ALPHA), "not_finite"),
    ):
        assert (found.outcome, found.low, found.high) == (outcome, -math.inf, math.inf)
    with pytest.raises(InvalidInputError):
        radius(100, 0.5, "both", 100)


def test_state_survives_storage() -> None:
    seen, adapter = running([0.25, 1.0, 0.5]), TypeAdapter(Running)
    assert adapter.validate_json(adapter.dump_json(seen)).then(0.75) == seen.then(0.75)
