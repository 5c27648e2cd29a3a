"""The nine printed documents load as written, and the shipped ones keep their names, steps, types and fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.pipeline.dataflow import auto_context, dependencies
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import dump_yaml, load_document
from shared.pipeline.wanted_pipelines import CHOICE, DRAFT
from tests.specification import SPECIFICATION, printed, printed_documents

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "pipelines" / "meta"
ORIGINAL = ROOT.parent / "shared" / "spec" / "SPECIFICATION.md"
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


def shipped(file: str) -> Document:
    path = SHIPPED / f"{file}.yaml"
    return load_document(path.read_text(encoding="utf-8"), file=str(path))


@pytest.mark.skipif(not ORIGINAL.exists(), reason="the specification itself is not beside the project")
def test_the_copy_of_the_specification_is_exact() -> None:
    assert SPECIFICATION.read_bytes() == ORIGINAL.read_bytes()


@pytest.mark.parametrize(("file", "name"), FILES.items())
def test_printed_documents_load_verbatim(file: str, name: str) -> None:
    assert printed(file).name == name


def test_there_are_exactly_nine_meta_documents() -> None:
    assert {path.stem for path in SHIPPED.glob("*.yaml")} == set(printed_documents()) == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_shipped_documents_keep_names_steps_types_and_fields(file: str) -> None:
    written, kept = printed(file), shipped(file)
    assert kept.name == written.name
    assert [(step.name, step.type) for step in kept.steps] == [(step.name, step.type) for step in written.steps]
    for ours, theirs in zip(kept.steps, written.steps, strict=True):
        if theirs.output_schema is not None:
            assert ours.output_schema is not None
            assert field_names(theirs.output_schema) <= field_names(ours.output_schema)
    assert set(written.inputs) <= set(kept.inputs)
    assert document_facts(kept).functions == document_facts(written).functions


@pytest.mark.parametrize("file", FILES)
def test_shipped_documents_ask_for_short_answers_within_their_limits(file: str) -> None:
    document = shipped(file)
    assert all((document.effective(step).max_tokens or 0) <= 260 for step in document.steps if step.prompt)
    assert document.domain == "meta"
    assert document_facts(document).estimated_tokens <= document.limits.tokens


@pytest.mark.parametrize("load", [printed, shipped], ids=["printed", "shipped"])
@pytest.mark.parametrize("file", FILES)
def test_documents_survive_a_round_trip_through_yaml(load: Callable[[str], Document], file: str) -> None:
    document = load(file)
    again = load_document(dump_yaml(document))
    assert again == document
    assert again.digest == document.digest


def test_names_that_are_used_but_not_declared_become_required_inputs() -> None:
    assert set(printed("contextual_generator").inputs) == {"requirements", "resources", "constraints", "metrics"}


@pytest.mark.parametrize(
    ("file", "step", "field", "shape"),
    [
        ("ab_testing_framework", "performance_comparison", "winner", CHOICE),
        ("innovation_engine", "feasibility_analysis", "viable_concepts", {}),
    ],
)
def test_a_field_that_another_step_reads_becomes_the_schema_of_a_step_without_one(
    file: str, step: str, field: str, shape: dict[str, Any]
) -> None:
    schemas = {each.name: each.output_schema for each in printed(file).steps}
    assert schemas[step] == {"type": "object", "properties": {field: shape}, "required": [field], "additionalProperties": False}


def test_a_step_whose_answers_another_one_runs_as_pipelines_is_asked_for_pipelines() -> None:
    steps = {each.name: each for each in printed("ab_testing_framework").steps}
    assert steps["variant_generation"].output_schema == DRAFT


def test_whoever_deploys_a_choice_is_told_the_candidates_that_were_compared() -> None:
    steps = {each.name: each.flat() for each in printed("ab_testing_framework").steps}
    assert steps["winner_deployment"]["config"]["candidates"] == steps["parallel_execution"]["config"]["pipelines"]


def test_a_prompt_that_refers_to_nothing_is_given_the_previous_step() -> None:
    document = printed("contextual_generator")
    assert auto_context(document, document.steps[2]).previous_step == "pipeline_synthesis"
    assert dependencies(document)["optimization_pass"] == {"pipeline_synthesis"}


def test_prompts_of_a_batch_that_refer_to_nothing_are_given_the_previous_step() -> None:
    document = printed("innovation_engine")
    assert auto_context(document, document.steps[1]).previous_step == "innovation_opportunities"


def field_names(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(field_names, schema))
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", {}))
    return own.union(*(field_names(member) for member in schema.values()))
