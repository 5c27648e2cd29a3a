from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from shared.errors import InvalidInputError
from shared.evidence.paired import binomial_tail, further_cases, newcombe_interval, paired_test, required_cases
from shared.evidence.variants import compare_variants
from shared.evidence.verdicts import more_cases


def pairs(wins: int, losses: int, both: int, neither: int) -> tuple[list[float | None], list[float | None]]:
    candidate = [1.0] * wins + [0.0] * losses + [1.0] * both + [0.0] * neither
    incumbent = [0.0] * wins + [1.0] * losses + [1.0] * both + [0.0] * neither
    return list(candidate), list(incumbent)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (5, 0), (8, 3), (3, 8), (30, 18)])
def test_exact_test_equals_the_binomial_test_of_scipy(wins: int, losses: int) -> None:
    found = paired_test(*pairs(wins, losses, 10, 10), alpha=0.05)
    better = stats.binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
    worse = stats.binomtest(losses, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
    assert (found.p_value_better, found.p_value_worse) == pytest.approx((better, worse), abs=1e-12)
    assert (found.method, found.discordant, found.cases) == ("mcnemar", wins + losses, wins + losses + 20)
    assert found.gain_low <= found.gain <= found.gain_high


def test_binomial_tail_equals_the_survival_function_of_scipy() -> None:
    for trials, successes in product((1, 7, 40, 400), (0, 1, 3, 30)):
        assert binomial_tail(successes, trials) == pytest.approx(stats.binom.sf(successes - 1, trials, 0.5), abs=1e-12)


@pytest.mark.parametrize("size", [4, 9, 12])
def test_sign_flips_equal_the_permutation_test_of_scipy(size: int) -> None:
    generator = np.random.default_rng(size)
    ours, theirs = generator.random(size), generator.random(size)
    found = paired_test(list(ours), list(theirs), alpha=0.05)
    oracle = stats.permutation_test(
        (ours, theirs), lambda a, b: float(np.mean(a - b)), permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert found.method == "sign_flip_exact"
    assert found.p_value_better == pytest.approx(oracle.pvalue, abs=1e-9)


def test_sampled_sign_flips_are_repeatable_and_close_to_the_exact_answer() -> None:
    generator = np.random.default_rng(3)
    ours, theirs = np.clip(generator.random(15) + 0.1, 0, 1), generator.random(15)
    found = paired_test(list(ours), list(theirs), alpha=0.05)
    oracle = stats.permutation_test(
        (ours, theirs), lambda a, b: float(np.mean(a - b)), permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert found.method == "sign_flip_sampled"
    assert found.p_value_better == pytest.approx(oracle.pvalue, abs=0.015)
    assert found == paired_test(list(ours), list(theirs), alpha=0.05)


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_false_alarms_of_the_exact_test_stay_below_alpha(alpha: float) -> None:
    generator = np.random.default_rng(11)
    alarms = 0
    rounds = 2000
    for _ in range(rounds):
        answers = generator.random((2, 60)) < 0.6
        found = paired_test(list(answers[0].astype(float)), list(answers[1].astype(float)), alpha)
        alarms += found.p_value_better <= alpha
    assert alarms / rounds <= alpha + 0.01


def test_false_alarms_of_the_sign_flip_test_stay_near_alpha() -> None:
    generator = np.random.default_rng(12)
    rounds = 300
    alarms = sum(
        paired_test(list(generator.random(30)), list(generator.random(30)), 0.05).p_value_better <= 0.05 for _ in range(rounds)
    )
    assert alarms / rounds <= 0.085


def test_interval_of_the_gain_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(13)
    rounds = 1000
    covered = 0
    for _ in range(rounds):
        both, wins, losses, neither = generator.multinomial(80, [0.5, 0.2, 0.1, 0.2])
        low, high = newcombe_interval(int(both), int(wins), int(losses), int(neither), 0.025)
        covered += low <= 0.1 <= high
    assert 0.93 <= covered / rounds <= 0.97


def test_lower_end_of_the_interval_agrees_with_the_verdict_of_the_test() -> None:
    clear = paired_test(*pairs(20, 4, 40, 20), alpha=0.05)
    unclear = paired_test(*pairs(8, 6, 40, 20), alpha=0.05)
    assert clear.p_value_better <= 0.05 and clear.gain_low > 0
    assert unclear.p_value_better > 0.05 and unclear.gain_low < 0


def test_failed_cases_count_as_zero() -> None:
    assert paired_test([None, 1.0], [1.0, 1.0], 0.05) == paired_test([0.0, 1.0], [1.0, 1.0], 0.05)


def test_identical_grades_show_nothing_and_claim_nothing() -> None:
    found = paired_test([0.5, 0.7, 1.0], [0.5, 0.7, 1.0], 0.05)
    assert (found.p_value_better, found.p_value_worse, found.gain, found.discordant) == (1.0, 1.0, 0.0, 0)
    assert found.gain_low < 0 < found.gain_high


def test_equal_gains_on_all_cases_are_no_certainty() -> None:
    found = paired_test([0.5] * 40, [0.4] * 40, alpha=0.05)
    assert (found.gain_low, found.gain_high) == pytest.approx((0.1 - (1 - 0.05 ** (1 / 40)), 0.1 + (1 - 0.05 ** (1 / 40))))


def test_no_cases_decide_nothing() -> None:
    found = paired_test([], [], 0.05)
    assert (found.p_value_better, found.gain_low, found.gain_high, found.method) == (1.0, -1.0, 1.0, "none")


def test_unpaired_grades_and_impossible_levels_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="not paired"):
        paired_test([1.0], [1.0, 0.0], 0.05)
    with pytest.raises(InvalidInputError, match="alpha"):
        paired_test([1.0], [1.0], 0.5)
    with pytest.raises(InvalidInputError, match="grade"):
        paired_test([float("nan")], [1.0], 0.05)


@pytest.mark.parametrize(("gain", "cases"), [(0.10, 180), (0.05, 740), (0.03, 2060)])
def test_planner_gives_the_documented_numbers(gain: float, cases: int) -> None:
    assert required_cases(gain, 0.3, 0.05, 0.8) == pytest.approx(cases, rel=0.03)


def test_planned_number_of_cases_reaches_the_power_in_simulation() -> None:
    cases = required_cases(0.15, 0.3, 0.05, 0.8)
    generator = np.random.default_rng(5)
    counts = generator.multinomial(cases, [0.225, 0.075, 0.7], size=1000)
    power = np.mean([binomial_tail(int(wins), int(wins + losses)) <= 0.05 for wins, losses, _ in counts])
    assert 0.7 <= power <= 0.87


def test_no_gain_needs_no_number_of_cases_and_nonsense_is_refused() -> None:
    assert required_cases(0.0, 0.3, 0.05, 0.8) == 0
    assert required_cases(0.5, 0.1, 0.05, 0.8) == required_cases(0.5, 0.5, 0.05, 0.8)
    with pytest.raises(InvalidInputError):
        required_cases(0.1, 0.3, 0.0, 0.8)


def graded(cases: int, generator: np.random.Generator) -> tuple[list[float], list[float]]:
    """A gain of 3 points on grades that differ by 10."""
    theirs = generator.uniform(0.3, 0.6, cases)
    return list(theirs + generator.normal(0.03, 0.1, cases)), list(theirs)


def test_cases_that_a_graded_gain_needs_show_it_as_often_as_promised() -> None:
    generator = np.random.default_rng(3)
    needed = 30 + further_cases(0.03, 0.1**2 + 0.03**2, 30, (0.05, 0.8))
    shown = [paired_test(*graded(needed, generator), alpha=0.05).p_value_better < 0.05 for _ in range(200)]
    assert 0.72 < np.mean(shown) < 0.88


def test_a_graded_comparison_asks_for_as_many_more_cases_as_its_spread_needs() -> None:
    ours, theirs = [0.6, 0.44] * 12, [0.5] * 24
    test = paired_test(ours, theirs, alpha=0.05)
    spread = float(np.std(np.subtract(ours, theirs)))
    wanted = (stats.norm.isf(0.05) * np.hypot(spread, test.gain) + stats.norm.isf(0.2) * spread) ** 2 / test.gain**2
    assert test.gain > 0.0 and test.p_value_better > 0.05
    assert more_cases(test, 0.05) == pytest.approx(wanted - 24, abs=1.0)
    (variant,) = compare_variants(theirs, {"a": ours}, 0.05).variants
    assert variant.more_cases_needed == more_cases(test, 0.05)


def test_of_right_and_wrong_answers_the_share_that_differ_is_what_counts() -> None:
    test = paired_test(*pairs(9, 6, 10, 15), alpha=0.05)
    assert more_cases(test, 0.05) == required_cases(test.gain, 15 / 40, 0.05, 0.8) - 40
