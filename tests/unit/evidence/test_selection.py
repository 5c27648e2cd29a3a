"""Claims of what passed a test: by hand, by simulation, and never beyond what was seen."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from shared.evidence.paired import paired_test
from shared.evidence.selection import claimable_gain

ALPHA = 0.05
Grades = Sequence[float | None]


def pairs(wins: int, losses: int, ties: int) -> tuple[Grades, Grades]:
    ours: Grades = [1.0] * wins + [0.0] * losses + [1.0] * ties
    theirs: Grades = [0.0] * wins + [1.0] * losses + [1.0] * ties
    return ours, theirs


def test_what_just_passed_claims_no_more_than_the_interval_s_lower_end() -> None:
    test = paired_test(*pairs(5, 0, 35), ALPHA)
    assert test.p_value_better < ALPHA and claimable_gain(test, ALPHA) == max(0.0, test.gain_low)


def test_what_passed_by_far_claims_what_was_seen() -> None:
    test = paired_test(*pairs(80, 20, 100), ALPHA)
    assert claimable_gain(test, ALPHA) == pytest.approx(test.gain, abs=1e-3)


def test_what_did_not_pass_was_not_selected() -> None:
    for wins, losses in ((3, 2), (0, 0), (2, 8)):
        test = paired_test(*pairs(wins, losses, 20), ALPHA)
        assert claimable_gain(test, ALPHA) == test.gain


def test_the_likeliest_share_of_wins_solves_the_likelihood_of_a_truncated_binomial() -> None:
    test = paired_test(*pairs(24, 8, 68), ALPHA)
    shares = np.linspace(0.3, 0.99, 6_901)
    fewest = next(count for count in range(33) if binom.sf(count - 1, 32, 0.5) < ALPHA)
    likelihood = binom.logpmf(24, 32, shares) - binom.logsf(fewest - 1, 32, shares)
    assert claimable_gain(test, ALPHA) == pytest.approx(32 * (2 * shares[np.argmax(likelihood)] - 1) / 100, abs=1e-4)


def steps_of_a_claim(pairs_that_differ: int) -> int:
    """Calls of functions, Python's own included: what it costs, on a busy machine too."""
    test = paired_test(*pairs(pairs_that_differ * 2 // 3, pairs_that_differ // 3, pairs_that_differ), ALPHA)
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        claimable_gain(test, ALPHA)
    finally:
        sys.setprofile(before)
    return calls


def test_a_claim_from_four_times_as_many_cases_costs_about_four_times_as_much() -> None:
    assert steps_of_a_claim(480) < 6 * steps_of_a_claim(120)


@given(wins=st.integers(0, 60), losses=st.integers(0, 60), ties=st.integers(0, 60))
def test_a_claim_lies_between_the_lower_end_and_the_gain(wins: int, losses: int, ties: int) -> None:
    test = paired_test(*pairs(wins, losses, ties), ALPHA)
    claim = claimable_gain(test, ALPHA)
    assert claim <= test.gain
    assert test.p_value_better >= ALPHA or claim >= max(0.0, test.gain_low)


def mean_errors(cases: int, gain: float) -> tuple[float, float]:
    """(of the claim, of the gain as seen), in points, over what passed of 3,000 looks; 30% of the pairs differ."""
    draw = random.Random(f"{cases}:{gain}")
    claims, seen = [], []
    for _ in range(3_000):
        differences = [draw.choices((1, -1, 0), (0.15 + gain / 2, 0.15 - gain / 2, 0.7))[0] for _ in range(cases)]
        test = paired_test([max(0, one) for one in differences], [max(0, -one) for one in differences], ALPHA)
        if test.p_value_better < ALPHA:
            claims.append(claimable_gain(test, ALPHA) - gain)
            seen.append(test.gain - gain)
    return 100 * float(np.mean(claims)), 100 * float(np.mean(seen))


@pytest.mark.parametrize(("cases", "gain"), [(40, 0.1), (40, 0.2), (100, 0.05), (100, 0.1), (200, 0.05), (200, 0.1)])
def test_claims_are_within_two_points_of_the_truth_on_average_where_seen_gains_are_not(cases: int, gain: float) -> None:
    claimed, seen = mean_errors(cases, gain)
    assert abs(claimed) <= 2.0 + 0.4, "two standard errors of so many looks beside the two points"
    assert seen > claimed


def test_graded_claims_are_pulled_down_too_and_less_the_further_they_passed() -> None:
    draw = random.Random(1)
    for size, least, most in ((0.1, 0.0, 0.9), (0.35, 0.95, 1.0)):
        theirs = [draw.uniform(0.0, 0.5) for _ in range(60)]
        ours: Grades = [min(1.0, max(0.0, grade + draw.gauss(size, 0.35))) for grade in theirs]
        test = paired_test(ours, theirs, ALPHA)
        assert test.p_value_better < ALPHA and least <= claimable_gain(test, ALPHA) / test.gain <= most
