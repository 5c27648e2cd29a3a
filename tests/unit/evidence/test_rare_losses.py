"""A gain of little nearly everywhere is none where much is lost now and then, also where no case showed that."""

from __future__ import annotations

import numpy as np
import pytest

from shared.evidence.paired import paired_test
from shared.evidence.rare_losses import cases_against_rare_losses, rare_loss_p_value
from shared.evidence.verdicts import judge_pairs

ALPHA = 0.05
LOOKS = 200


def verdict(differences: list[float]) -> tuple[str, int]:
    incumbent = [0.5] * len(differences)
    candidate = [0.5 + each for each in differences]
    test = paired_test(candidate, incumbent, ALPHA)
    found, _, more = judge_pairs(candidate, incumbent, test, alpha=ALPHA, failure_tolerance=0.05)
    return found, more


def skewed(generator: np.random.Generator, cases: int, rare: float, loss: float) -> list[float]:
    """Of mean 0: `loss` on the share `rare` of the cases, and on the others as much as makes up for it."""
    others = rare * loss / (1 - rare) + generator.normal(0.0, 0.001, cases)
    return [-loss if generator.random() < rare else float(each) for each in others]


@pytest.mark.parametrize(("cases", "rare", "loss"), [(20, 0.05, 0.38), (20, 0.03, 0.5), (60, 0.03, 0.5), (100, 0.02, 0.5)])
def test_what_is_not_better_on_average_is_rarely_certified(cases: int, rare: float, loss: float) -> None:
    generator = np.random.default_rng(cases)
    looks = [skewed(generator, cases, rare, loss) for _ in range(LOOKS)]
    assert sum(paired_test([0.5 + x for x in look], [0.5] * cases, ALPHA).p_value_better < ALPHA for look in looks) > 0.1 * LOOKS
    assert sum(verdict(look)[0] == "certified" for look in looks) <= 0.05 * LOOKS


def test_a_gain_that_no_rare_loss_undoes_is_certified() -> None:
    generator = np.random.default_rng(1)
    looks = [np.clip(generator.normal(0.1, 0.15, 80), -0.5, 0.5).tolist() for _ in range(40)]
    assert sum(verdict(look)[0] == "certified" for look in looks) >= 36


def test_an_undecided_gain_says_how_many_cases_would_decide() -> None:
    found, more = verdict([0.02, 0.021] * 20)
    assert found == "canary" and more > 40
    assert verdict([0.02, 0.021] * (20 + more // 2 + 1))[0] == "certified"


def test_the_p_value_is_that_of_the_share_of_a_lost_case_where_all_gain_alike() -> None:
    """(1 - 1) weighs one exponential against the sum of n: P(W > g * sum) = (1 + g) ** -n."""
    for gain, cases in ((0.1, 20), (0.05, 60)):
        assert rare_loss_p_value([gain] * cases, [0.0] * cases) == pytest.approx((1 + gain) ** -cases, abs=0.01)
    assert rare_loss_p_value([], []) == 1.0
    assert cases_against_rare_losses(0.1, 0.01, ALPHA, 0.8) == 30


def test_grades_of_0_and_1_are_judged_as_before() -> None:
    candidate, incumbent = [1.0] * 8 + [0.0] * 12, [0.0] * 20
    test = paired_test(candidate, incumbent, ALPHA)
    assert judge_pairs(candidate, incumbent, test, alpha=ALPHA, failure_tolerance=0.05)[0] == "certified"
