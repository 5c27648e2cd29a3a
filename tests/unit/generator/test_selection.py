from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.generator.domain.selection import Candidate, ranked, survivors, trial_rounds
from shared.pipeline.loading import load_document


def candidate(name: str, grades: Sequence[float | None], tokens: int = 0) -> Candidate:
    document = load_document({"name": name, "steps": [{"name": "s", "type": "set_variable", "variable": "x", "value": 1}]})
    return Candidate("template", name, document, {str(n): grade for n, grade in enumerate(grades)}, tokens=tokens)


@given(st.integers(1, 12), st.integers(0, 200), st.integers(0, 300))
def test_trial_rounds_never_exceed_the_runs_or_the_cases(candidates: int, cases: int, runs: int) -> None:
    plan = trial_rounds(candidates, cases, runs)
    assert sum(count * size for count, size in plan) <= runs
    assert sum(size for _, size in plan) <= cases
    assert [count for count, _ in plan] == sorted((count for count, _ in plan), reverse=True)


def test_luck_on_few_cases_does_not_beat_steadiness_on_many() -> None:
    steady, lucky = candidate("steady", [1.0] * 18 + [0.0] * 6), candidate("lucky", [1.0] * 4 + [0.0])
    poor = [candidate(f"poor{n}", [0.0] * 8) for n in range(3)]
    assert lucky.mean > steady.mean
    assert ranked([lucky, *poor, steady])[0] is steady


def test_the_baseline_goes_on_only_if_it_leads() -> None:
    best, other = candidate("best", [1.0]), candidate("other", [0.5])
    baseline = replace(candidate("plain", [0.8]), strategy="baseline")
    assert survivors([best, baseline, other], 2) == [best, other]
    assert survivors([baseline, best, other], 2) == [baseline, best]


def test_an_untried_candidate_comes_last() -> None:
    untried, wrong = candidate("untried", []), candidate("wrong", [0.0])
    assert ranked([untried, wrong]) == [wrong, untried]


def test_of_two_equally_good_ones_the_cheaper_wins() -> None:
    dear, cheap = candidate("dear", [1.0, 0.0], tokens=900), candidate("cheap", [1.0, 0.0], tokens=10)
    assert ranked([dear, cheap])[0] is cheap


def test_a_run_without_an_answer_counts_as_zero() -> None:
    assert candidate("half", [1.0, None]).mean == 0.5
