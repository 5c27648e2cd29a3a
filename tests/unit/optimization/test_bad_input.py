"""Whatever is wrong with what `optimize` is given is said at once, with what would do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from evoline import Outcome, optimize
from evoline.optimization.menus import USELESS_LIMIT
from shared.errors import InvalidInputError
from tests.fakes.planted_task import SEED, SPLITS, Evaluator, cases, listing


def search(evaluate: Any = None, seed: Any = None, **changed: Any) -> Outcome:
    arguments = {"budget": 300, "proposer": listing, **SPLITS, **changed}
    return optimize(SEED if seed is None else seed, evaluate or Evaluator(), seed_number=0, **arguments)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dev": cases(7, "b")}, "7 dev cases are too few for any decision (give at least 16)"),
        ({"sealed": cases(3, "c")}, "3 sealed cases are too few for any decision (give at least 20)"),
        ({"budget": 10}, "allow at least 88"),
        ({"budget": -1}, "allow at least 88"),
        ({"dev": [{**case, "expected": "yes"} for case in SPLITS["dev"]]}, "all dev cases have the same label"),
        ({"sealed": [*SPLITS["sealed"], SPLITS["dev"][0]]}, "sealed-00060 repeats dev-00000"),
        ({"train": [*SPLITS["train"], SPLITS["train"][0]]}, "train-00020 repeats train-00000"),
        ({"workers": 0}, "workers: is 0"),
        ({"alpha": 0.9}, "alpha: is 0.9"),
        ({"strategy": "clim"}, "there is no strategy 'clim' (choose among best_of, climb, genetic, gepa, guided)"),
        ({"operators": ["drop_sentense"]}, "unknown operators drop_sentense"),
        ({"operators": (), "proposer": None}, "nothing can be proposed"),
        ({"seed": {}}, "seed: is empty"),
        ({"seed": {"a": 3}}, "seed.a: is int, not a text"),
        ({"seed": {"name": "x", "steps": [{"name": "a", "type": "nothing"}]}}, "steps"),
    ],
)
def test_wrong_arguments_are_named(changed: dict[str, Any], said: str) -> None:
    evaluate = Evaluator()
    with pytest.raises(InvalidInputError) as caught:
        search(evaluate, **changed)
    assert said in str(caught.value)
    assert evaluate.asked.total() == 0, "nothing is evaluated before everything is checked"


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidInputError) as caught:
        search(dev=cases(3, "b"), sealed=cases(3, "c"), budget=1)
    assert {problem.path for problem in caught.value.problems} == {"dev", "sealed", "budget"}


@pytest.mark.parametrize("answer", [math.nan, math.inf, -0.1, 1.1, True, "1.0", None, [1.0]])
def test_what_is_no_score_is_never_a_success(answer: Any) -> None:
    with pytest.raises(InvalidInputError, match="all of its first 8 evaluations failed: evaluate gave"):
        search(lambda candidate, case: answer)


def test_a_grader_that_raises_now_and_then_counts_as_failures_and_is_told() -> None:
    inner = Evaluator()

    def brittle(candidate: Any, case: Any) -> Any:
        if case["input"]["n"].endswith("7"):
            raise ZeroDivisionError("no such thing")
        return inner(candidate, case)

    outcome = search(brittle)
    assert outcome.evidence.failures == {
        "evaluate raised ZeroDivisionError: no such thing": sum(outcome.evidence.failures.values())
    }
    assert any("evaluations failed, most often: evaluate raised ZeroDivisionError" in reason for reason in outcome.evidence.reasons)


@pytest.mark.parametrize("garbage", [None, 7, {}, {"other": "x"}, {**SEED, "note": 5}, {**SEED, "note": "x" * 30_000}, dict(SEED)])
def test_a_proposer_of_garbage_is_counted_and_not_asked_for_ever(garbage: Any) -> None:
    asked = []

    def useless(parent: Any, feedback: Any) -> Any:
        asked.append(parent)
        return garbage

    outcome = search(proposer=useless)
    assert outcome.evidence.proposals["refused"] == len(asked) <= USELESS_LIMIT
    assert outcome.evidence.candidates > 1, "the other operators went on"


def test_a_proposer_that_raises_is_told_and_ends_nothing() -> None:
    def broken(parent: Any, feedback: Any) -> Any:
        raise RuntimeError("model away")

    outcome = search(proposer=broken, operators=())
    assert outcome.verdict == "rejected"
    assert any("not asked again" in reason and "model away" in reason for reason in outcome.evidence.reasons)


def test_an_evaluator_cannot_change_the_candidates_that_it_sees() -> None:
    inner = Evaluator()

    def vandal(candidate: dict[str, str], case: Any) -> Any:
        found = inner(candidate, case)
        candidate.clear()
        return found

    assert search(vandal).evidence.archive_hash == search().evidence.archive_hash


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    search(journal=journal)
    with pytest.raises(InvalidInputError, match="belongs to another seed, data, budget or seed number"):
        search(journal=journal, budget=301)
    with pytest.raises(InvalidInputError, match="belongs to another seed, data, budget"):
        search(journal=journal, dev=[{**case, "rubric": "strict"} for case in SPLITS["dev"]])
    for notes in ("not a journal\n", "notes without an end of their line"):
        journal.write_text(notes)
        with pytest.raises(InvalidInputError, match="is no journal of an optimisation"):
            search(journal=journal)
        assert journal.read_text() == notes


def test_a_journal_that_was_cut_in_its_first_line_is_begun_again(tmp_path: Path) -> None:
    whole, journal = tmp_path / "whole", tmp_path / "journal.jsonl"
    search(journal=whole)
    journal.write_bytes(whole.read_bytes()[:20])
    search(journal=journal)
    assert journal.read_bytes() == whole.read_bytes()
