from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from shared.errors import InvalidInputError
from shared.evidence.effects import melded_p_value
from shared.evidence.non_inferiority import non_inferiority_test

ALPHA, MARGIN = 0.05, 0.2


@pytest.mark.parametrize("win_share", [0.0, 0.05, 0.3])
def test_level_of_the_binary_test_holds_where_the_loss_is_just_the_margin(win_share: float) -> None:
    cases, shares = 14, [win_share, win_share + MARGIN, 1 - 2 * win_share - MARGIN]
    shown = 0.0
    for wins, losses in product(range(cases + 1), repeat=2):
        if wins + losses <= cases and melded_p_value(wins, losses, cases, -MARGIN) < ALPHA:
            shown += float(stats.multinomial.pmf([wins, losses, cases - wins - losses], cases, shares))
    assert 0.0 < shown <= ALPHA


@pytest.mark.parametrize("loss", [1.0, 0.5])
def test_level_of_the_graded_test_holds_for_rare_large_losses(loss: float) -> None:
    generator = np.random.default_rng(2)
    shown = 0
    for _ in range(150):
        ours = np.where(generator.random(60) < 0.1 / loss, 1 - loss, 1.0)
        shown += non_inferiority_test([0.95, *ours[1:]], [0.95] + [1.0] * 59, 0.1, ALPHA).shown
    assert shown / 150 <= ALPHA + 0.02


def test_equal_arms_are_shown_with_enough_cases_and_not_with_few() -> None:
    few, many = ([0.5, 1.0] * 4, [1.0, 0.5] * 4), ([0.5, 1.0] * 200, [1.0, 0.5] * 200)
    assert not non_inferiority_test(*few, MARGIN, ALPHA).shown
    found = non_inferiority_test(*many, MARGIN, ALPHA)
    assert (found.outcome, found.shown, found.method, found.gain) == ("ok", True, "betting", 0.0)
    assert -MARGIN < found.low < 0.0


def test_few_cases_that_never_differed_show_nothing() -> None:
    assert not non_inferiority_test([0.5] * 20, [0.5] * 20, 0.05, ALPHA).shown
    assert not non_inferiority_test([1.0] * 20, [1.0] * 20, 0.05, ALPHA).shown
    assert non_inferiority_test([1.0] * 60, [1.0] * 60, 0.05, ALPHA).shown


def test_bound_agrees_with_the_verdict_and_order_does_not_matter() -> None:
    generator = np.random.default_rng(8)
    theirs = generator.random(120).round(2)
    ours = np.clip(theirs + generator.normal(0, 0.1, 120), 0, 1)
    order = generator.permutation(120)
    found = non_inferiority_test(list(ours), list(theirs), 0.06, ALPHA)
    assert found.shown == (found.low > -0.06)
    assert non_inferiority_test(list(ours[order]), list(theirs[order]), 0.06, ALPHA) == found
    assert non_inferiority_test(list(ours), list(theirs), 0.10, ALPHA).p_value < found.p_value


def test_no_cases_and_nan_are_no_success_and_a_margin_must_be_stated() -> None:
    assert non_inferiority_test([], [], MARGIN, ALPHA).outcome == "no_data"
    broken = non_inferiority_test([float("nan")] * 99, [0.0] * 99, MARGIN, ALPHA)
    assert (broken.outcome, broken.shown, broken.p_value) == ("not_finite", False, 1.0)
    with pytest.raises(InvalidInputError, match="margin"):
        non_inferiority_test([1.0], [1.0], 0.0, ALPHA)
