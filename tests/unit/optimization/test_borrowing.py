"""A pipeline as seed may take over steps of other tasks and ask other models, if the caller says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evoline import optimize
from shared.errors import InvalidInputError
from tests.fakes.evolution_world import donor_document, labelled_cases, seed_document

LIBRARY = Path(__file__).parents[3] / "pipelines" / "library"
CASES = [case.model_dump(mode="json", include={"input", "expected"}) for case in labelled_cases(dev=90)]


def prefers_steps(candidate: dict[str, Any], case: dict[str, Any]) -> float:
    return float(len(candidate["steps"]) > 1 or len(case["input"]["text"]) % 2)


def search(**changed: Any) -> Any:
    splits: dict[str, Any] = {"train": CASES[:30], "dev": CASES[30:70], "sealed": CASES[70:]}
    return optimize(seed_document(), prefers_steps, **splits, budget=300, **changed)


def test_only_what_is_lent_is_taken_over() -> None:
    template = yaml.safe_load((LIBRARY / "classify_few_shot.yaml").read_text())
    lent = search(borrow=[donor_document(), template], models=["claude:small-1", "claude:large-1"])
    used = {entry.candidate.operator for entry in lent.archive.entries}
    assert {"transfer", "graft_template", "model_swap", "cascade"} & used
    plain = {entry.candidate.operator for entry in search().archive.entries}
    assert not {"transfer", "graft_template", "model_swap", "cascade", "provider_swap"} & plain


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"borrow": [{"name": "x"}]}, r"borrow\[0\]"),
    ({"models": ["gpt"]}, "claude:NAME"),
    ({"operators": ["transfer", "cascade"]}, "cascade, transfer have nothing to work with"),
    ({"operators": ["transfer"], "strategy": "guided"}, "`borrow`"),
    ({"models": ["claude:"]}, "models"),
]


@pytest.mark.parametrize(("changed", "place"), WRONG)
def test_what_is_no_pipeline_or_model_is_refused_with_its_place(changed: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInputError, match=place):
        search(**changed)


def test_narrow_limits_of_a_seed_do_not_forbid_steps() -> None:
    narrow = {**seed_document(), "limits": {"seconds": 60, "steps": 1, "calls": 1, "tokens": 400}}
    splits: dict[str, Any] = {"train": CASES[:30], "dev": CASES[30:70], "sealed": CASES[70:]}
    outcome = optimize(narrow, prefers_steps, **splits, budget=300)
    longer = [entry.candidate.document for entry in outcome.archive.entries if len(entry.candidate.document["steps"]) > 1]
    assert longer and all(document["limits"]["steps"] >= len(document["steps"]) for document in longer)
