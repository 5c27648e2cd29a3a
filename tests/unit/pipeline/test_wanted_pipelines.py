"""Schemas and candidates that follow from pipelines being wanted, and where nothing follows."""

from __future__ import annotations

from typing import Any

import pytest

from shared.pipeline.document import Document
from shared.pipeline.loading import dump_yaml, load_document
from shared.pipeline.wanted_pipelines import CHOICE, DRAFT, DRAFTS


def asks(name: str, kind: str = "claude", **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "prompt": "Draft.", **keys}


def compares(pipelines: Any, name: str = "compare") -> dict[str, Any]:
    return {"name": name, "type": "parallel_pipeline_executor", "config": {"pipelines": pipelines, "test_data": "{{ cases }}"}}


def deploys(pipeline: Any, **config: Any) -> dict[str, Any]:
    return {"name": "deploy", "type": "pipeline_deployer", "config": {"pipeline": pipeline, **config}}


def loaded(*steps: dict[str, Any]) -> Document:
    document = load_document({"name": "p", "steps": [*steps]})
    assert load_document(dump_yaml(document)).digest == document.digest
    return document


def schemas(*steps: dict[str, Any]) -> dict[str, Any]:
    return {step.name: step.output_schema for step in loaded(*steps).steps}


def picked(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}


def test_answers_side_by_side_are_one_pipeline_each_and_a_single_answer_is_a_list_of_them() -> None:
    batch = {"name": "draft", "type": "claude_batch", "prompts": ["One.", "Two."]}
    tasks = {"name": "draft", "type": "parallel_claude", "tasks": {"a": "One.", "b": "Two."}}
    for fan_out in (batch, tasks):
        assert schemas(fan_out, compares("{{ steps.draft.results }}"))["draft"] == DRAFT
    assert schemas(asks("draft"), compares("{{ steps.draft.result }}"))["draft"] == DRAFTS
    assert schemas(asks("draft"), compares("{{ steps.draft.variants }}"))["draft"] == picked(variants=DRAFTS)


def test_a_schema_that_the_author_wrote_stays() -> None:
    own = {"type": "object", "properties": {"name": {"type": "string"}}}
    batch = {"name": "draft", "type": "claude_batch", "prompts": ["One."], "schema": own}
    assert schemas(batch, compares("{{ steps.draft.results }}"))["draft"] == own


@pytest.mark.parametrize("template", ["{{ steps.draft.text }}", "triage@{{ steps.draft.digest }}", "{{ cases }}"])
def test_text_references_and_inputs_are_no_pipelines_to_ask_for(template: str) -> None:
    found = schemas(asks("draft"), deploys(template))
    assert found["draft"] in (None, picked(digest={}))


def test_a_choice_without_candidates_may_be_any_pipeline() -> None:
    assert schemas(asks("pick"), deploys("{{ steps.pick.winner }}"))["pick"] == picked(winner={})


def test_candidates_are_those_of_the_comparison_that_the_choice_read() -> None:
    choosing = asks("pick", prompt="Which? {{ steps.second.results }}")
    document = loaded(compares(["a"], "first"), compares(["b@stable"], "second"), choosing, deploys("{{ steps.pick.winner }}"))
    steps = {step.name: step for step in document.steps}
    assert steps["deploy"].flat()["config"]["candidates"] == ["b@stable"]
    assert steps["pick"].output_schema == picked(winner=CHOICE)


def test_candidates_that_the_author_wrote_stay() -> None:
    written = deploys("{{ steps.pick.winner }}", candidates="{{ mine }}")
    document = loaded(compares(["a"]), asks("pick", prompt="Which? {{ steps.compare.results }}"), written)
    assert document.steps[-1].flat()["config"]["candidates"] == "{{ mine }}"
