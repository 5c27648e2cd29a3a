from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from shared.errors import InvalidInputError
from shared.evidence.effects import bca_interval, melded_interval, melded_p_value, paired_effect
from shared.evidence.paired import binomial_tail

ALPHA = 0.05


def trinomial(cases: int, wins: int, losses: int, win_share: float, loss_share: float) -> float:
    rest = cases - wins - losses
    shares = [win_share, loss_share, 1 - win_share - loss_share]
    return float(stats.multinomial.pmf([wins, losses, rest], cases, shares))


@pytest.mark.parametrize(("wins", "losses", "cases"), [(20, 4, 84), (8, 6, 74), (5, 0, 5), (5, 0, 60), (0, 4, 9), (0, 0, 30)])
def test_melded_p_value_at_no_gain_is_mcnemars_and_the_interval_agrees(wins: int, losses: int, cases: int) -> None:
    p_value = binomial_tail(wins, wins + losses)
    assert melded_p_value(wins, losses, cases, 0.0) == pytest.approx(p_value, abs=1e-12)
    low, high = melded_interval(wins, losses, cases, ALPHA)
    assert (low > 1e-9) == (p_value < ALPHA)
    assert low <= (wins - losses) / cases <= high
    assert melded_interval(losses, wins, cases, ALPHA) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    ("wins", "losses", "cases", "gain"), [(20, 8, 84, 0.05), (20, 8, 84, -0.05), (3, 5, 40, -0.2), (30, 2, 60, 0.4)]
)
def test_melded_p_value_equals_the_integral_over_both_distributions(wins: int, losses: int, cases: int, gain: float) -> None:
    moved, share = wins + losses, stats.beta(wins, losses + 1)
    fewest, most = stats.beta(moved, cases - moved + 1), stats.beta(moved + 1, cases - moved)

    def at(won: float) -> float:
        ahead = 2 * won - 1
        below = fewest.cdf(gain / ahead) if ahead > 0 else most.sf(gain / ahead)
        return float(share.pdf(won) * (below if ahead * gain > 0 else ahead < 0))

    oracle = sum(integrate.quad(at, *ends, limit=200)[0] for ends in ((0, 0.5), (0.5, 1)))
    assert melded_p_value(wins, losses, cases, gain) == pytest.approx(oracle, rel=2e-3)


@pytest.mark.parametrize(("win_share", "loss_share"), [(0.1, 0.1), (0.3, 0.1), (0.05, 0.3), (0.5, 0.02), (0.7, 0.3), (0.01, 0.0)])
def test_melded_bounds_cover_exactly_at_small_numbers_of_cases(win_share: float, loss_share: float) -> None:
    cases, gain = 10, win_share - loss_share
    missed_low = missed_high = 0.0
    for wins, losses in product(range(cases + 1), repeat=2):
        if wins + losses <= cases:
            chance = trinomial(cases, wins, losses, win_share, loss_share)
            missed_low += chance * (melded_p_value(wins, losses, cases, gain) < ALPHA)
            missed_high += chance * (melded_p_value(losses, wins, cases, -gain) < ALPHA)
    assert missed_low <= ALPHA and missed_high <= ALPHA


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 15), st.integers(0, 15), st.integers(0, 30), st.floats(-0.9, 0.9))
def test_p_value_grows_with_the_gain_and_falls_with_wins(wins: int, losses: int, same: int, gain: float) -> None:
    cases = wins + losses + same + 1
    found = melded_p_value(wins, losses, cases, gain)
    assert found <= melded_p_value(wins, losses, cases, gain + 0.05) + 1e-9
    assert found >= melded_p_value(wins + 1, losses, cases, gain) - 1e-9


def test_bca_equals_scipys_up_to_resampling() -> None:
    values = np.random.default_rng(3).beta(0.4, 0.2, 60) * 2 - 1
    found = bca_interval(list(values), 0.025, resamples=20_000)
    oracle = stats.bootstrap(
        (values,), np.mean, confidence_level=0.95, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    assert found == pytest.approx(tuple(oracle.confidence_interval), abs=0.01)
    assert found == bca_interval(list(values[::-1]), 0.025, resamples=20_000)


def test_bca_covers_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        low, high = bca_interval(list(generator.beta(0.5, 0.5, 60)), 0.05, resamples=500)
        covered += low <= 0.5 <= high
    assert 0.84 <= covered / 300 <= 0.95


def test_equal_differences_claim_no_certainty() -> None:
    effect = paired_effect([0.5] * 20, [0.5] * 20, ALPHA)
    assert (effect.gain, effect.low, effect.high) == pytest.approx((0.0, -(1 - ALPHA**0.05), 1 - ALPHA**0.05))


def test_method_follows_the_grades_and_outcomes_are_typed() -> None:
    assert paired_effect([1.0, 0.0, 1.0], [0.0, 0.0, 1.0], ALPHA).method == "melded"
    assert paired_effect([1.0, 0.5, 1.0], [0.0, 0.0, 1.0], ALPHA).method == "bca"
    for effect, outcome in ((paired_effect([], [], ALPHA), "no_data"), (paired_effect([float("nan")], [1.0], ALPHA), "not_finite")):
        assert (effect.outcome, effect.low, effect.high) == (outcome, -1.0, 1.0)
    for wrong in (([1.0], []), ([1.5], [0.0])):
        with pytest.raises(InvalidInputError):
            paired_effect(*wrong, ALPHA)
