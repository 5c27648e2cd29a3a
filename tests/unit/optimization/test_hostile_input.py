"""Arguments of the wrong kind, labels that leak or are missing, repeats in disguise, proposers that cannot be trusted."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evoline import Outcome, optimize
from evoline.optimization.cases import leak_problems
from evoline.optimization.menus import USELESS_LIMIT
from shared.errors import InvalidInputError
from shared.search.strategies import Climb
from tests.fakes.planted_task import SEED, SPLITS, Evaluator, listing

HALF = "\ud83d"
"""Half of a surrogate pair, as a model's cut answer may hold."""


def search(evaluate: Any = None, seed: Any = None, **changed: Any) -> Outcome:
    arguments = {"budget": 300, "seed_number": 0, "proposer": listing, **SPLITS, **changed}
    return optimize(SEED if seed is None else seed, evaluate or Evaluator(), **arguments)


def refusal(**changed: Any) -> str:
    evaluate = Evaluator()
    with pytest.raises(InvalidInputError) as caught:
        search(changed.pop("evaluate", evaluate), **changed)
    assert evaluate.asked.total() == 0
    return str(caught.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": "Say it."}, "seed: is str (give a pipeline document or a map of names to texts)"),
        ({"seed": {"prompt": HALF}}, "half of a character"),
        ({"evaluate": 3}, "evaluate: is int (give a function (candidate, case) -> score from 0 to 1)"),
        ({"proposer": "gpt"}, "proposer: is str"),
        ({"budget": "300"}, "budget: is str (give a whole number of evaluations, at most 1000000000)"),
        ({"budget": True}, "budget: is bool"),
        ({"budget": 300.0}, "budget: is float"),
        ({"dev": None}, "dev: is NoneType (give a list of cases)"),
        ({"sealed": {"a": 1}}, "sealed: is dict"),
        ({"train": "cases.jsonl"}, "train: is str"),
        ({"workers": "4"}, "workers: is str (give a whole number from 1 to 1024)"),
        ({"workers": True}, "workers: is bool"),
        ({"workers": math.nan}, "workers: is float"),
        ({"workers": -1}, "workers: is -1 (give a whole number from 1 to 1024)"),
        ({"workers": 10**9}, "workers: is 1000000000"),
        ({"seed_number": "1"}, "seed_number: is str"),
        ({"seed_number": False}, "seed_number: is bool"),
        ({"seed_number": 1.0}, "seed_number: is float"),
        ({"seed_number": -1}, "seed_number: is -1 (give a whole number from 0 to 4294967295)"),
        ({"seed_number": 10**5000}, "seed_number: is too large"),
        ({"alpha": "0.05"}, "alpha: is str (give a level between 0 and 0.5, usually 0.05)"),
        ({"alpha": True}, "alpha: is bool"),
        ({"alpha": math.nan}, "alpha: is nan"),
        ({"alpha": -0.05}, "alpha: is -0.05"),
        ({"alpha": math.inf}, "alpha: is inf"),
        ({"budget": 10**400}, "budget: is too large (give a whole number of evaluations, at most 1000000000)"),
        ({"dev": {"a", "b"}}, "dev: is set (give a list of cases)"),
        ({"strategy": None}, "strategy: is NoneType (give the name of a strategy"),
        ({"strategy": Climb}, "strategy: is type"),
        ({"operators": "frame_text"}, "operators: is str (give a list of names"),
        ({"operators": [None]}, "operators: is list"),
        ({"models": "claude:x"}, "models: is str (give a list of names, as claude:NAME)"),
        ({"models": [1]}, "models: is list"),
        ({"borrow": {"name": "x"}}, "borrow: is dict (give a list of pipeline documents)"),
        ({"weights": "cost"}, "weights: is str (give a map of objectives to numbers"),
        ({"weights": {"cost": "0.05"}}, "weights.cost: is str"),
        ({"weights": {"cost": True}}, "weights.cost: is bool"),
        ({"weights": {1: 0.05}}, "weights: is int"),
        ({"journal": 5}, "journal: is int (give the path of a file)"),
        ({"journal": "a\0b"}, "journal: is str"),
        ({"on_progress": 5}, "on_progress: is int (give a function (progress))"),
        ({"seed": {1: "text"}}, "seed.1: has a name that is int, not a text"),
        ({"seed": {"prompt": "x" * 20_001}}, "seed.prompt: has 20001 characters (give at most 20000)"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(changed: dict[str, Any], said: str) -> None:
    assert said in refusal(**changed)


def test_all_numbers_of_the_wrong_kind_are_told_at_once() -> None:
    said = refusal(workers="4", seed_number=None, alpha=1)
    assert all(name in said for name in ("workers: is str", "seed_number: is NoneType", "alpha: is 1"))


def test_numbers_of_numpy_are_numbers() -> None:
    numbers = {"budget": np.int64(88), "workers": np.int64(1), "seed_number": np.int64(0), "alpha": np.float64(0.05)}
    plain, others = search(budget=88), search(**numbers)
    assert plain.evidence.archive_hash == others.evidence.archive_hash


def test_a_text_may_be_called_as_a_pipeline_calls_its_steps() -> None:
    seed = {"steps": "Think first."}
    assert search(lambda candidate, case: 0.5, seed=seed, proposer=None, budget=88).best == seed


def test_cases_without_a_label_among_labelled_ones_are_counted_and_named() -> None:
    dev = [{**case, "expected": None} if index in (2, 5) else case for index, case in enumerate(SPLITS["dev"])]
    assert "2 of 120 cases have no label: dev-00002, dev-00005" in refusal(dev=dev)
    assert "1 of 120 cases have no label" in refusal(dev=[{**SPLITS["dev"][0], "expected": ""}, *SPLITS["dev"][1:]])


def test_where_no_case_has_a_label_the_scorer_knows_by_itself() -> None:
    plain = {name: [{"input": case["input"]} for case in cases] for name, cases in SPLITS.items()}
    assert search(**plain).evidence.candidates > 1


@pytest.mark.parametrize("twin", [{"need": "AMBER", "n": "  B0 "}, None])
def test_repeats_in_disguise_are_repeats(twin: dict[str, str] | None) -> None:
    dev = [{**SPLITS["dev"][0], "input": {"need": "amber", "n": "b0"}}, *SPLITS["dev"][1:]]
    if twin is None:  # another name and another label
        dev, sealed = [{"id": index, "text": f"t{index}", "expected": index % 2} for index in range(40)], SPLITS["sealed"]
        sealed = [{"id": f"s{index}", "text": f"T{index} ", "expected": 1 - index % 2} for index in range(40)]
    else:
        sealed = [*SPLITS["sealed"], {"input": twin, "expected": 2}]
    assert "sealed-000" in refusal(dev=dev, sealed=sealed)


def test_cases_that_are_only_names_are_told_apart_by_them() -> None:
    named = {name: [{"id": f"{name}{index}"} for index, _ in enumerate(cases)] for name, cases in SPLITS.items()}
    assert search(lambda candidate, case: float(case["id"].endswith(("1", "3", "7"))), **named).verdict == "rejected"


def test_a_field_that_gives_the_label_away_is_named() -> None:
    def leaking(case: dict[str, Any]) -> dict[str, Any]:
        return {
            **case,
            "input": {**case["input"], "meta": {"gold": f" {'ABC'[case['expected']]}. "}},
            "expected": "abc"[case["expected"]],
        }

    said = refusal(**{name: [leaking(case) for case in cases] for name, cases in SPLITS.items()})
    assert "cases.meta.gold: is the label itself in 120 of 120 cases" in said


def test_a_field_that_is_the_label_now_and_then_is_none_that_leaks() -> None:
    cases = {str(index): {"input": {"text": "ab"[index % 2]}, "expected": "ab"[(index // 3) % 2]} for index in range(100)}
    assert leak_problems(cases) == []
    assert leak_problems({str(index): {"input": {"text": "a"}, "expected": "a"} for index in range(100)}) == []


def test_a_field_that_is_rarely_set_does_not_leak_a_label_that_is_rarely_set() -> None:
    def rare(index: int, every: int) -> int:
        return int(index % every == 0)

    def cases(linked_every: int) -> dict[str, Any]:
        return {
            str(index): {"input": {"text": str(index), "link": rare(index, linked_every)}, "expected": rare(index, 33)}
            for index in range(200)
        }

    assert leak_problems(cases(49)) == []
    assert [problem.path for problem in leak_problems(cases(33))] == ["cases.link"]


def test_a_proposer_that_repeats_itself_is_not_asked_for_ever() -> None:
    asked = 0

    def stuck(parent: Any, feedback: Any) -> Any:
        nonlocal asked
        asked += 1
        return {**SEED, "note": "always the same"}

    alone = search(proposer=stuck, operators=())
    assert alone.evidence.proposals == {"asked": asked, "usable": 1, "refused": asked - 1}
    assert asked == USELESS_LIMIT + 1
    assert any("given before" in reason for reason in alone.evidence.reasons)
    assert search(proposer=stuck).evidence.candidates > 2, "the other operators went on"


def test_a_proposer_cannot_change_what_it_is_shown() -> None:
    document = {
        "name": "p",
        "steps": [{"name": "a", "type": "set_variable", "variable": "x", "value": "1"}],
        "outputs": {"answer": "x"},
    }

    def vandal(parent: Any, feedback: Any) -> Any:
        parent["steps"].clear()
        return None

    outcome = search(lambda candidate, case: float(bool(candidate["steps"])), seed=document, proposer=vandal, operators=())
    assert outcome.archive.entries[0].candidate.document["steps"]


@pytest.mark.parametrize("journal", [True, False])
def test_halves_of_characters_from_a_model_end_no_search(journal: bool, tmp_path: Path) -> None:
    inner = Evaluator()

    def evaluate(candidate: Any, case: Any) -> Any:
        return inner(candidate, case)[0], f"the model said {HALF}"

    def proposer(parent: Any, feedback: Any) -> Any:
        return {**parent, "note": f"{parent['note']} {HALF}"}

    outcome = search(evaluate, proposer=proposer, journal=tmp_path / "journal" if journal else None)
    assert outcome.evidence.proposals["usable"] == 0 < outcome.evidence.proposals["refused"]


def test_two_searches_never_write_one_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    counted: Counter[str] = Counter()

    def evaluate(candidate: Any, case: Any) -> float:
        if not counted:
            counted["inner"] += 1
            with pytest.raises(InvalidInputError, match="the same search runs already"):
                search(journal=journal)
        return 0.5

    search(evaluate, journal=journal)
    assert counted == {"inner": 1}


@pytest.mark.parametrize("place", ["nowhere/journal", "."])
def test_a_journal_that_cannot_be_written_is_told(place: str, tmp_path: Path) -> None:
    assert "cannot be opened" in refusal(journal=tmp_path / place)


def test_a_killed_process_leaves_its_journal_free(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    code = (
        "import os, signal\nfrom tests.unit.optimization.test_hostile_input import search\n"
        f"search(lambda candidate, case: os.kill(os.getpid(), signal.SIGKILL), journal={str(journal)!r})"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert killed.returncode == -9
    assert json.loads(journal.read_text())["format"]
    assert search(journal=journal).evidence.candidates > 1


def test_a_proposal_is_read_the_same_when_a_search_goes_on(tmp_path: Path) -> None:
    def numbering(parent: Any, feedback: Any) -> Any:
        return {1: f"{parent['1']} birch"}  # JSON has no such names

    arguments: dict[str, Any] = {"seed": {"1": "amber"}, "proposer": numbering, "operators": (), "journal": tmp_path / "journal"}
    first, again = search(**arguments).evidence, search(**arguments).evidence
    assert (first.archive_hash, first.proposals) == (again.archive_hash, again.proposals)
