from __future__ import annotations

from typing import Any

import pytest

from services.generator.strategies.synthesis import ground
from shared.pipeline.loading import load_document
from tests.unit.generator.test_understanding_requests import cases, understood

ANSWER: dict[str, Any] = {
    "description": "two steps",
    "steps": [
        {"name": "Find Tone", "type": "claude", "prompt": "Describe the tone of {{ secrets }}."},
        {"name": "decide", "type": "claude_robust", "prompt": "Decide."},
    ],
}


def test_a_proposal_becomes_a_valid_document_of_the_task() -> None:
    task = understood(cases())
    document = load_document(ground(task, ANSWER))
    assert document.name == task.pipeline
    assert set(document.inputs) == {"text"}
    assert document.steps[-1].output_schema is not None
    assert document.steps[-1].output_schema["properties"]["label"]["enum"] == ["good", "bad"]


def test_braces_that_the_model_wrote_are_text_not_templates() -> None:
    document = load_document(ground(understood(cases()), ANSWER))
    assert "secrets" not in document.inputs


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "steps",
        {},
        {"steps": []},
        {"steps": "claude"},
        {"steps": [{"name": "x", "type": "claude"}]},
        {"steps": [{"name": "x", "type": "file_ops", "prompt": "rm"}]},
        {"steps": [{"name": "x", "type": "claude", "prompt": "p"}] * 4},
    ],
)
def test_what_is_no_proposal_is_refused_not_repaired(answer: Any) -> None:
    with pytest.raises(ValueError, match="step"):
        ground(understood(cases()), answer)


def test_an_object_step_before_the_last_becomes_a_plain_one() -> None:
    steps = [
        {"name": "look", "type": "claude_extract", "prompt": "List words."},
        {"name": "decide", "type": "claude_extract", "prompt": "Go."},
    ]
    document = load_document(ground(understood(cases()), {"steps": steps}))
    assert [step.type for step in document.steps] == ["claude", "claude_extract"]
