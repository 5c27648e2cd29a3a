from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.generator.domain.selection import Candidate, ranked, rounds
from shared.pipeline.loading import load_document


def candidate(name: str, grades: list[float | None], tokens: int = 0) -> Candidate:
    document = load_document({"name": name, "steps": [{"name": "s", "type": "set_variable", "variable": "x", "value": 1}]})
    return Candidate("template", name, document, {str(n): grade for n, grade in enumerate(grades)}, tokens=tokens, runs=len(grades))


@given(st.integers(1, 12), st.integers(0, 200), st.integers(0, 300))
def test_trial_rounds_never_exceed_the_calls_or_the_cases(candidates: int, cases: int, calls: int) -> None:
    plan = rounds(candidates, cases, calls)
    assert sum(count * size for count, size in plan) <= calls
    assert sum(size for _, size in plan) <= cases
    assert [count for count, _ in plan] == sorted((count for count, _ in plan), reverse=True)


def test_a_candidate_that_survived_more_cases_beats_a_lucky_short_one() -> None:
    survivor, lucky = candidate("survivor", [1.0, 1.0, 0.0, 1.0]), candidate("lucky", [1.0, 1.0])
    assert ranked([lucky, survivor])[0] is survivor


def test_of_two_equally_good_ones_the_cheaper_wins() -> None:
    dear, cheap = candidate("dear", [1.0, 0.0], tokens=900), candidate("cheap", [1.0, 0.0], tokens=10)
    assert ranked([dear, cheap])[0] is cheap


def test_a_run_without_an_answer_counts_as_zero() -> None:
    assert candidate("half", [1.0, None]).mean == 0.5
