from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.evidence.exact_tests import sign_flip_test
from shared.evidence.paired import binomial_tail, further_cases, required_cases
from shared.evidence.planning import critical_wins, detectable_gain, detectable_mean_gain, exact_cases, paired_power


@pytest.mark.parametrize(("gain", "documented"), [(0.10, 180), (0.05, 740), (0.03, 2060)])
def test_planners_give_the_documented_numbers(gain: float, documented: int) -> None:
    assert required_cases(gain, 0.3, 0.05, 0.8) == pytest.approx(documented, rel=0.03)
    exact = exact_cases(gain, 0.3, 0.05, 0.8)
    assert documented <= exact <= documented * 1.12
    assert paired_power(exact, gain, 0.3, 0.05) >= 0.8 > paired_power(exact - 1, gain, 0.3, 0.05)
    assert detectable_gain(exact, 0.3, 0.05, 0.8) == pytest.approx(gain, rel=0.01)


def test_critical_wins_are_the_least_that_the_exact_test_shows() -> None:
    moved = np.arange(200, dtype=np.float64)
    for alpha in (0.05, 0.0005):
        for total, wins in enumerate(critical_wins(moved, alpha).astype(int).tolist()):
            assert wins == total + 1 or binomial_tail(wins, total) <= alpha
            assert binomial_tail(wins - 1, total) > alpha


def test_power_is_the_share_of_simulated_experiments_that_show_the_gain() -> None:
    counts = np.random.default_rng(6).multinomial(120, [0.25, 0.1, 0.65], size=4000)
    shown = np.mean([binomial_tail(int(wins), int(wins + losses)) <= 0.05 for wins, losses, _ in counts])
    assert paired_power(120, 0.15, 0.35, 0.05) == pytest.approx(shown, abs=0.025)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 150), st.floats(0, 0.5), st.floats(0.6, 0.9))
def test_power_is_at_most_the_level_at_no_gain_and_grows_with_the_gain(cases: int, gain: float, discordance: float) -> None:
    assert paired_power(cases, 0.0, discordance, 0.05) <= 0.05 + 1e-9
    assert paired_power(cases, gain, discordance, 0.05) <= paired_power(cases, gain + 0.1, discordance, 0.05) + 1e-9


def test_what_cannot_be_shown_is_said_and_nonsense_is_refused() -> None:
    assert detectable_gain(4, 0.3, 0.05, 0.8) is None
    assert detectable_gain(5, 0.3, 0.05, 0.8) is not None
    assert exact_cases(0.0, 0.3, 0.05, 0.8) == 0
    assert paired_power(0, 0.1, 0.3, 0.05) == 0.0
    with pytest.raises(InvalidInputError, match="cases"):
        exact_cases(0.001, 0.5, 0.05, 0.8)
    with pytest.raises(InvalidInputError):
        paired_power(10, 0.1, 1.5, 0.05)


def test_a_detectable_mean_gain_is_what_so_many_cases_were_planned_for() -> None:
    for gain, square in ((0.02, 0.01), (0.1, 0.04), (0.3, 0.3)):
        needed = 1 + further_cases(gain, square, 1, (0.05, 0.8))
        shown = detectable_mean_gain(needed, square, 0.05, 0.8)
        assert shown is not None and shown <= gain < (detectable_mean_gain(needed - 1, square, 0.05, 0.8) or 1.0)


def test_a_detectable_mean_gain_is_shown_about_as_often_as_was_asked() -> None:
    draw, cases, spread = np.random.default_rng(8), 60, 0.1
    gain = 0.03324  # the mean square of such differences is its square plus that of the spread
    assert detectable_mean_gain(cases, gain**2 + spread**2, 0.05, 0.8) == pytest.approx(gain, rel=0.01)
    shown = np.mean([sign_flip_test(list(draw.normal(gain, spread, cases))).p_better <= 0.05 for _ in range(150)])
    assert 0.7 <= shown <= 0.9


def test_too_few_cases_show_no_mean_gain_at_all() -> None:
    assert detectable_mean_gain(0, 0.1, 0.05, 0.8) is None
    assert detectable_mean_gain(2, 0.1, 0.05, 0.8) is None
    with pytest.raises(InvalidInputError):
        detectable_mean_gain(10, 1.5, 0.05, 0.8)
