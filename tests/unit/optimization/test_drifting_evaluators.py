"""Evaluators whose scores depend on when they are asked: equal candidates stay equal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from evoline import Outcome, optimize
from tests.fakes.planted_task import SEED, SPLITS, Evaluator

BUDGET = 400
BETTER = {**SEED, "note": "amber birch"}


class FailingLate:
    """A provider that is used up after so many calls. Until the gate one candidate is better; there, none is."""

    def __init__(self, used_up_after: int) -> None:
        self.calls = 0
        self.used_up_after = used_up_after

    def __call__(self, candidate: dict[str, str], case: dict[str, Any]) -> float:
        self.calls += 1
        if case["input"]["n"].startswith("c"):
            return float(self.calls <= self.used_up_after)
        return float(candidate["note"] != SEED["note"])


def search(evaluate: Any, **changed: Any) -> Outcome:
    arguments = {"budget": BUDGET, "proposer": lambda parent, feedback: BETTER, "operators": (), **SPLITS, **changed}
    return optimize(SEED, evaluate, **arguments)


def test_a_provider_that_is_used_up_during_the_gate_certifies_nobody() -> None:
    calls_of_search = FailingLate(10**9)
    outcome = search(calls_of_search)
    at_gate = outcome.evidence.spent["gate"]
    assert at_gate == 120
    for share in (0.25, 0.5, 0.75):
        late = FailingLate(calls_of_search.calls - round(at_gate * share))
        found = search(late)
        assert found.verdict == "canary" and abs(found.claim) <= 0.05


def test_each_goes_first_on_about_half_of_the_cases() -> None:
    first: Counter[str] = Counter()
    seen: set[str] = set()

    def evaluate(candidate: dict[str, str], case: dict[str, Any]) -> float:
        if case["input"]["n"].startswith("c") and case["input"]["n"] not in seen:
            seen.add(case["input"]["n"])
            first[candidate["note"]] += 1
        return float(candidate["note"] != SEED["note"])

    search(evaluate)
    assert set(first) == {SEED["note"], BETTER["note"]} and min(first.values()) >= 20


def test_an_evaluator_that_changes_a_case_changes_a_copy() -> None:
    inner = Evaluator(helps=False)

    def evaluate(candidate: dict[str, str], case: dict[str, Any]) -> Any:
        if case["input"].get("asked"):
            return 0.0  # whoever comes second
        case["input"]["asked"] = True
        return inner(candidate, case)

    assert search(evaluate).evidence.failures == {}
    assert not any("asked" in case["input"] for cases in SPLITS.values() for case in cases)
