from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidInputError
from shared.pipeline.inputs import bind_inputs, required_inputs
from shared.pipeline.loading import load_document

DOCUMENT = load_document(
    {
        "name": "p",
        "inputs": {"ticket": "string", "count": {"type": "integer", "default": 3}},
        "steps": [{"name": "a", "type": "claude", "prompt": "{{ ticket }} {{ count }} {{ other }}"}],
    }
)


def test_defaults_are_filled_in_and_strangers_left_out() -> None:
    assert bind_inputs(DOCUMENT, {"ticket": "x", "other": [1], "more": 1}) == {"ticket": "x", "count": 3, "other": [1]}


def test_inputs_without_a_default_are_required() -> None:
    assert required_inputs(DOCUMENT) == ("ticket", "other")


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({}, ["inputs.ticket", "inputs.other"]),
        ({"ticket": 5, "other": 1, "count": "x"}, ["inputs.ticket", "inputs.count"]),
        ({"ticket": "x", "other": float("nan")}, ["inputs.other"]),
    ],
)
def test_every_missing_or_unfit_input_is_named(given: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        bind_inputs(DOCUMENT, given)
    assert [problem.path for problem in caught.value.problems] == paths


def test_a_misspelled_input_is_recognised() -> None:
    with pytest.raises(InvalidInputError) as caught:
        bind_inputs(DOCUMENT, {"tickt": "x", "other": 1})
    assert "`tickt`" in caught.value.problems[0].suggestion
