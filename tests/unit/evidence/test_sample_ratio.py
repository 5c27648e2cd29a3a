from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from shared.errors import InvalidInputError
from shared.evidence.sample_ratio import sample_ratio

ORACLES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "data" / "evidence_oracles.json").read_text())[
    "gbstats_sample_ratio"
]


@pytest.mark.parametrize("row", ORACLES, ids=str)
def test_p_value_equals_those_of_scipy_and_gbstats(row: dict[str, Any]) -> None:
    counts, shares = row["counts"], row["shares"]
    found = sample_ratio(counts, shares)
    assert found.p_value == pytest.approx(row["p_value"], abs=1e-12)
    assert found.p_value == pytest.approx(stats.chisquare(counts, np.asarray(shares) * sum(counts)).pvalue, abs=1e-12)


def test_small_expected_counts_of_two_arms_are_judged_exactly() -> None:
    found = sample_ratio([9, 291], [0.01, 0.99])
    assert found.p_value == pytest.approx(2 * stats.binom.sf(8, 300, 0.01), rel=1e-9)
    assert sample_ratio([30, 270], [0.01, 0.99]).outcome == "mismatch"


@pytest.mark.parametrize(
    ("counts", "shares", "outcome"),
    [
        ([500, 500], [0.5, 0.5], "ok"),
        ([600, 400], [0.5, 0.5], "mismatch"),
        ([0, 100], [0.5, 0.5], "mismatch"),
        ([4, 3], [0.5, 0.5], "no_data"),
        ([0, 0], [0.5, 0.5], "no_data"),
        ([3, 290], [0.01, 0.99], "no_data"),
        ([100, 0], [1.0, 0.0], "no_data"),
        ([100, 1], [1.0, 0.0], "mismatch"),
        ([9, 9, 300], [0.01, 0.01, 0.98], "no_data"),
        ([float("nan"), 500], [0.5, 0.5], "not_finite"),
    ],
)
def test_outcome_is_typed(counts: list[int], shares: list[float], outcome: str) -> None:
    assert sample_ratio(counts, shares).outcome == outcome


def test_a_healthy_split_is_called_a_mismatch_about_once_in_a_thousand_single_looks() -> None:
    counts = np.random.default_rng(1).binomial(2000, 0.5, 20_000)
    values, often = np.unique(counts, return_counts=True)
    wrong = sum(n for k, n in zip(values, often, strict=True) if sample_ratio([int(k), 2000 - int(k)], [0.5, 0.5]).outcome != "ok")
    assert 0 < wrong <= 40


def test_impossible_questions_are_refused() -> None:
    for counts, shares in (([5], [1.0]), ([5, 5], [0.5]), ([-1, 5], [0.5, 0.5]), ([5, 5], [0.6, 0.6])):
        with pytest.raises(InvalidInputError):
            sample_ratio(counts, shares)
