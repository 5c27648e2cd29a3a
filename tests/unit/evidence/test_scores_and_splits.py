from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from shared.errors import InvalidInputError
from shared.evidence.scores import score, wilson_interval
from shared.evidence.splits import assign_split


@pytest.mark.parametrize(("right", "total"), [(0, 5), (3, 10), (17, 20), (20, 20), (431, 1000)])
def test_wilson_interval_equals_scipy(right: int, total: int) -> None:
    oracle = stats.binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right / total, total, float(stats.norm.ppf(0.975))) == pytest.approx(
        (oracle.low, oracle.high), abs=1e-12
    )


def test_failures_count_as_zero_and_are_told() -> None:
    found = score([1.0, None, 1.0, 0.0], "h")
    assert (found.mean, found.cases, found.failures, found.method, found.grader_hash) == (0.5, 4, 1, "wilson", "h")


def test_no_cases_is_an_outcome_of_its_own() -> None:
    found = score([], "h")
    assert (found.mean, found.low, found.high, found.cases, found.method) == (0.0, 0.0, 1.0, 0, "none")


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1, 1.01])
def test_grades_outside_the_unit_interval_are_refused(wrong: float) -> None:
    with pytest.raises(InvalidInputError):
        score([0.5, wrong], "h")


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        found = score([float(value) for value in generator.beta(2, 3, size=60)], "h")
        covered += found.low <= 0.4 <= found.high
    assert covered >= 180
    assert score([0.1, 0.9] * 20, "h") == score([0.1, 0.9] * 20, "h")


def test_few_graded_cases_get_the_wider_interval() -> None:
    found = score([0.5, 0.5, 0.5], "h")
    assert found.method == "wilson"
    assert found.high - found.low > 0.5


def test_equal_grades_are_no_certainty() -> None:
    found = score([0.5] * 30, "h")
    assert (found.method, found.low, found.high) == ("wilson", *wilson_interval(0.5, 30, float(stats.norm.ppf(0.975))))


def test_split_shares_are_kept_and_no_case_ever_moves() -> None:
    counts = Counter(assign_split("d", f"case-{index}") for index in range(5000))
    assert counts["train"] == pytest.approx(2000, abs=150)
    assert counts["dev"] == pytest.approx(1500, abs=150)
    assert assign_split("d", "case-1") == assign_split("d", "case-1")
    assert [assign_split("d", f"c{i}") for i in range(40)] != [assign_split("e", f"c{i}") for i in range(40)]


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(InvalidInputError):
        assign_split("d", "c", (0.5, 0.5, 0.5))
    assert {assign_split("d", f"c{i}", (0.0, 0.0, 1.0)) for i in range(50)} == {"sealed"}
