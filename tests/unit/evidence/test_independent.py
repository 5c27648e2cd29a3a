"""Difference of independent means: published numbers, coverage by simulation, outcomes of their own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.errors import InvalidInputError
from shared.evidence.independent import independent_difference


def ones(count: int, of: int) -> list[float]:
    return [1.0] * count + [0.0] * (of - count)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 10), 0.6075, 1.0)],
)
def test_the_interval_is_that_of_newcombes_table(first: tuple[int, int], second: tuple[int, int], low: float, high: float) -> None:
    """Newcombe (Stat Med 1998, 17:873), table II, method 10, at 95%."""
    found = independent_difference(ones(*first), ones(*second), 0.025)
    assert found.low == pytest.approx(low, abs=1e-4) and found.high == pytest.approx(high, abs=1e-4)


def test_the_interval_holds_the_true_difference_as_often_as_it_says_and_oftener_for_graded_values() -> None:
    draw = np.random.default_rng(3)
    held = {"binary": 0, "graded": 0}

    def make(kind: str, mean: float, count: int) -> list[float]:
        values = draw.binomial(1, mean, count) if kind == "binary" else draw.beta(4 * mean, 4 * (1 - mean), count)
        return [float(value) for value in values]

    for _ in range(400):
        for kind in held:
            found = independent_difference(make(kind, 0.8, 60), make(kind, 0.6, 40), 0.05)
            held[kind] += found.low <= 0.2 <= found.high
    assert 0.85 <= held["binary"] / 400 <= 0.95 and held["graded"] >= held["binary"]


def test_nothing_and_what_is_no_number_are_outcomes_of_their_own() -> None:
    assert independent_difference([], [1.0], 0.05).outcome == "no_data"
    found = independent_difference([math.nan], [1.0], 0.05)
    assert (found.outcome, found.low, found.high) == ("not_finite", -1.0, 1.0)
    for wrong, alpha in (([2.0], 0.05), ([1.0], 0.9)):
        with pytest.raises(InvalidInputError):
            independent_difference(wrong, [1.0], alpha)
