"""Several variants on the same cases: Holm's correction, who wins, and how often anybody wins where nobody is better."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from bench.evolution.experiments import false_winners
from shared.errors import InvalidInputError
from shared.evidence.exact_tests import mcnemar_test, sign_flip_test
from shared.evidence.variants import compare_variants, holm


def stepwise_rejections(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Holm's procedure as he words it: from the smallest on, until the first that is not below alpha over those left."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        if p_values[index] > alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def test_adjusted_p_values_reject_what_the_stepwise_procedure_rejects() -> None:
    draw = random.Random(1)
    for _ in range(300):
        p_values = [draw.random() ** 3 for _ in range(draw.randint(1, 8))]
        for alpha in (0.01, 0.05, 0.2):
            assert [each <= alpha for each in holm(p_values)] == stepwise_rejections(p_values, alpha)


def test_adjusted_p_values_are_those_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1.0, 1.0]


def grades(right: int, cases: int = 100) -> list[float | None]:
    return [*[1.0] * right, *[0.0] * (cases - right)]


def test_the_variant_with_the_largest_gain_wins_and_its_p_value_is_the_exact_tests() -> None:
    found = compare_variants(grades(50), {"fair": grades(65), "best": grades(80), "same": grades(50)}, 0.05)
    by_label = {each.label: each for each in found.variants}
    assert found.winner == "best"
    assert [by_label[label].standing for label in ("fair", "best", "same")] == ["better", "better", "undecided"]
    assert by_label["best"].p_better == mcnemar_test(30, 0).p_better
    assert by_label["fair"].p_adjusted == pytest.approx(2 * mcnemar_test(15, 0).p_better)
    assert by_label["best"].gain == pytest.approx(0.3) and by_label["best"].gain_low > 0


def test_graded_scores_are_compared_by_sign_flips() -> None:
    draw = random.Random(2)
    theirs = [draw.random() * 0.5 for _ in range(40)]
    ours = [each + 0.3 for each in theirs]
    (only,) = compare_variants(theirs, {"a": ours}, 0.05).variants
    assert only.standing == "better" and only.gain == pytest.approx(0.3)
    assert only.p_better == sign_flip_test([a - b for a, b in zip(ours, theirs, strict=True)]).p_better


def test_what_is_better_alone_may_not_be_among_many() -> None:
    better = {"a": grades(56)}
    others = {f"same-{number}": grades(50) for number in range(5)}
    assert compare_variants(grades(50), better, 0.05).winner == "a"
    assert compare_variants(grades(50), better | others, 0.05).winner == ""
    assert compare_variants(grades(50), better, 0.05, begun=6).winner == ""


def test_a_variant_that_fails_more_often_is_no_winner_however_good_it_is_elsewhere() -> None:
    failing: list[float | None] = [None] * 10 + [1.0] * 90
    (found,) = compare_variants(grades(50), {"a": failing}, 0.05).variants
    assert found.standing == "failing" and "10 of 100 runs failed" in found.reasons[0]
    assert compare_variants(grades(50), {"a": failing}, 0.05).winner == ""


def test_a_variant_shown_worse_is_told_so_and_an_undecided_one_how_many_more_cases_it_takes() -> None:
    worse, small = compare_variants(grades(50), {"worse": grades(30), "small": grades(53)}, 0.05).variants
    assert worse.standing == "worse" and worse.p_worse < 0.05 and worse.more_cases_needed == 0
    assert small.standing == "undecided" and small.more_cases_needed > 0
    shown = compare_variants(grades(50 * 8, 800), {"small": grades(53 * 8, 800)}, 0.05)
    assert small.more_cases_needed <= 700 and shown.winner == "small"


def test_no_cases_and_nothing_that_differs_decide_nothing() -> None:
    for pair in ([], [1.0] * 30):
        (found,) = compare_variants(pair, {"a": list(pair)}, 0.05).variants
        assert (found.standing, found.p_better, found.p_worse) == ("undecided", 1.0, 1.0)
        assert found.gain_low < 0 < found.gain_high


def test_unpaired_grades_and_impossible_levels_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="paired"):
        compare_variants([1.0], {"a": [1.0, 0.0]}, 0.05)
    with pytest.raises(InvalidInputError, match="alpha"):
        compare_variants([1.0], {"a": [1.0]}, 0.7)


@pytest.mark.parametrize(("variants", "cases"), list(itertools.product((1, 3, 6), (40, 120))))
def test_where_no_variant_is_better_a_winner_is_named_in_at_most_5_percent(variants: int, cases: int) -> None:
    wrong, experiments = false_winners(variants, cases, experiments=400, share=0.7, own_luck=0.3, seed=5)
    assert wrong / experiments <= 0.05
