"""The nine printed documents load as written, and the shipped ones keep their names, steps, types and fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.pipeline.dataflow import auto_context, dependencies
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import dump_yaml, load_document

PRINTED = Path(__file__).parent / "specification"
SHIPPED = Path(__file__).parents[3] / "pipelines" / "meta"
FILES = {
    "template_learner": "adaptive_template_learning",
    "contextual_generator": "context_aware_pipeline_generator",
    "performance_analytics": "pipeline_performance_analyzer",
    "continuous_learning": "pipeline_learning_system",
    "ab_testing_framework": "pipeline_ab_testing",
    "meta_learner": "meta_learning_pipeline",
    "transfer_learning": "cross_domain_transfer_learning",
    "self_diagnostic": "pipeline_health_monitor",
    "innovation_engine": "autonomous_innovation_system",
}


def loaded(folder: Path, file: str) -> Document:
    path = folder / f"{file}.yaml"
    return load_document(path.read_text(encoding="utf-8"), file=str(path))


@pytest.mark.parametrize(("file", "name"), FILES.items())
def test_printed_documents_load_verbatim(file: str, name: str) -> None:
    assert loaded(PRINTED, file).name == name


def test_there_are_exactly_nine_meta_documents() -> None:
    assert {path.stem for path in SHIPPED.glob("*.yaml")} == {path.stem for path in PRINTED.glob("*.yaml")} == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_shipped_documents_keep_names_steps_types_and_fields(file: str) -> None:
    printed, shipped = loaded(PRINTED, file), loaded(SHIPPED, file)
    assert shipped.name == printed.name
    assert [(step.name, step.type) for step in shipped.steps] == [(step.name, step.type) for step in printed.steps]
    for ours, theirs in zip(shipped.steps, printed.steps, strict=True):
        if theirs.output_schema is not None:
            assert ours.output_schema is not None
            assert field_names(theirs.output_schema) <= field_names(ours.output_schema)
    assert set(printed.inputs) <= set(shipped.inputs)
    assert document_facts(shipped).functions == document_facts(printed).functions


@pytest.mark.parametrize("file", FILES)
def test_shipped_documents_ask_for_short_answers_within_their_limits(file: str) -> None:
    document = loaded(SHIPPED, file)
    assert all((document.effective(step).max_tokens or 0) <= 260 for step in document.steps if step.prompt)
    assert document.domain == "meta"
    assert document_facts(document).estimated_tokens <= document.limits.tokens


@pytest.mark.parametrize("folder", [PRINTED, SHIPPED], ids=["printed", "shipped"])
@pytest.mark.parametrize("file", FILES)
def test_documents_survive_a_round_trip_through_yaml(folder: Path, file: str) -> None:
    document = loaded(folder, file)
    again = load_document(dump_yaml(document))
    assert again == document
    assert again.digest == document.digest


def test_names_that_are_used_but_not_declared_become_required_inputs() -> None:
    assert set(loaded(PRINTED, "contextual_generator").inputs) == {"requirements", "resources", "constraints", "metrics"}


@pytest.mark.parametrize(
    ("file", "step", "field"),
    [
        ("ab_testing_framework", "performance_comparison", "winner"),
        ("innovation_engine", "feasibility_analysis", "viable_concepts"),
    ],
)
def test_a_field_that_another_step_reads_becomes_the_schema_of_a_step_without_one(file: str, step: str, field: str) -> None:
    schemas = {each.name: each.output_schema for each in loaded(PRINTED, file).steps}
    assert schemas[step] == {"type": "object", "properties": {field: {}}, "required": [field], "additionalProperties": False}


def test_a_prompt_that_refers_to_nothing_is_given_the_previous_step() -> None:
    document = loaded(PRINTED, "contextual_generator")
    assert auto_context(document, document.steps[2]).previous_step == "pipeline_synthesis"
    assert dependencies(document)["optimization_pass"] == {"pipeline_synthesis"}


def test_prompts_of_a_batch_that_refer_to_nothing_are_given_the_previous_step() -> None:
    document = loaded(PRINTED, "innovation_engine")
    assert auto_context(document, document.steps[1]).previous_step == "innovation_opportunities"


def field_names(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(field_names, schema))
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", {}))
    return own.union(*(field_names(member) for member in schema.values()))
