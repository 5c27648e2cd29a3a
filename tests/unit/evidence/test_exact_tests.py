from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shared.errors import InvalidInputError
from shared.evidence.exact_tests import FLIPS, mcnemar_test, sign_flip_test

COUNTS = st.integers(0, 200)
DIFFERENCES = st.lists(st.integers(-8, 8).map(lambda eighths: eighths / 8), min_size=1, max_size=12)


@pytest.mark.parametrize(("wins", "losses"), [(1, 0), (5, 0), (8, 3), (3, 8), (30, 18), (400, 350)])
def test_mcnemar_equals_the_binomial_test_of_scipy(wins: int, losses: int) -> None:
    found = mcnemar_test(wins, losses)
    two_sided, better = (stats.binomtest(wins, wins + losses, alternative=side).pvalue for side in ("two-sided", "greater"))
    assert found.p_better == pytest.approx(better, abs=1e-12)
    assert found.p_two_sided == pytest.approx(two_sided, abs=1e-12)


def test_mid_p_counts_half_of_what_was_seen() -> None:
    exact, mid = mcnemar_test(12, 5), mcnemar_test(12, 5, mid_p=True)
    assert exact.p_better - mid.p_better == pytest.approx(stats.binom.pmf(12, 17, 0.5) / 2)
    assert mid.p_better + mid.p_worse == pytest.approx(1.0)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_level_of_the_exact_test_holds_at_every_small_number_of_pairs(alpha: float) -> None:
    for total in range(1, 60):
        exact = sum(stats.binom.pmf(k, total, 0.5) for k in range(total + 1) if mcnemar_test(k, total - k).p_better <= alpha)
        assert exact <= alpha + 1e-12


@given(COUNTS, COUNTS)
def test_another_win_never_weakens_and_swapping_the_arms_swaps_the_tails(wins: int, losses: int) -> None:
    found = mcnemar_test(wins, losses)
    assert mcnemar_test(wins + 1, losses).p_better <= found.p_better
    swapped = mcnemar_test(losses, wins)
    assert (swapped.p_better, swapped.p_worse) == (found.p_worse, found.p_better)
    assert 0.0 < found.p_better <= 1.0 and 0.0 < found.p_worse <= 1.0


@pytest.mark.parametrize("size", [5, 11, 14])
def test_exact_sign_flips_equal_the_permutation_test_of_scipy(size: int) -> None:
    values = np.random.default_rng(size).normal(0.2, 1.0, size)
    oracle = stats.permutation_test(
        (values, np.zeros(size)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=np.inf,
    )
    found = sign_flip_test(list(values))
    assert found.method == "sign_flip_exact"
    assert found.p_better == pytest.approx(oracle.pvalue, abs=1e-9)


def test_sampled_sign_flips_are_close_to_the_exact_ones_and_repeatable() -> None:
    values = list(np.random.default_rng(4).normal(0.3, 1.0, 17))
    sampled = sign_flip_test(values)
    signs = 1 - 2 * (np.arange(1 << 17)[:, None] >> np.arange(17) & 1)
    exact = float(np.mean(signs @ np.abs(values) >= sum(values) - 1e-12))
    assert sampled.method == "sign_flip_sampled" and sampled == sign_flip_test(values)
    assert sampled.p_better == pytest.approx(exact, abs=4 * math.sqrt(exact / FLIPS))
    assert sign_flip_test(values, seed=1).p_better != sampled.p_better


def test_sampled_p_value_is_never_zero() -> None:
    assert sign_flip_test([1.0] * 300).p_better == pytest.approx(1 / (1 + FLIPS))


@given(DIFFERENCES, st.randoms(use_true_random=False))
def test_order_of_the_cases_does_not_matter_and_signs_swap_the_tails(values: list[float], random: object) -> None:
    found = sign_flip_test(values)
    shuffled = sorted(values, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert sign_flip_test(shuffled) == found
    swapped = sign_flip_test([-value for value in values])
    assert (swapped.p_better, swapped.p_worse) == pytest.approx((found.p_worse, found.p_better))


def test_false_alarms_of_sign_flips_stay_below_alpha_at_small_numbers() -> None:
    generator = np.random.default_rng(12)
    alarms = [sign_flip_test(list(generator.normal(0, 1, 9))).p_better <= 0.05 for _ in range(2000)]
    assert np.mean(alarms) <= 0.05 + 0.015


def test_nothing_that_differs_and_values_that_are_no_numbers_are_no_success() -> None:
    for found, outcome in (
        (mcnemar_test(0, 0), "no_data"),
        (sign_flip_test([]), "no_data"),
        (sign_flip_test([0.0] * 50), "no_data"),
        (sign_flip_test([0.1, float("nan")]), "not_finite"),
        (sign_flip_test([0.1, float("inf")]), "not_finite"),
    ):
        assert (found.outcome, found.p_better, found.p_worse, found.p_two_sided) == (outcome, 1.0, 1.0, 1.0)
    with pytest.raises(InvalidInputError):
        mcnemar_test(-1, 3)
