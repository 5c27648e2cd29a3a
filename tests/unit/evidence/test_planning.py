from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.evidence.paired import binomial_tail, required_cases
from shared.evidence.planning import critical_wins, detectable_gain, exact_cases, paired_power


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
