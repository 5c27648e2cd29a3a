"""What a document leaves unsaid and the loader writes down: required inputs and the schemas that other steps rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.pipeline.document import RESERVED_NAMES, Document, Step
from shared.pipeline.names import value_field
from shared.pipeline.template_names import NamePath
from shared.pipeline.walk import answers_schema, kind_of, output_names, references, walk
from shared.pipeline.wanted_pipelines import wanted_pipelines, with_candidates


def complete(document: Document) -> Document:
    """The document with every used name declared and a schema on each answering step whose fields others read."""
    document = with_candidates(document)
    used = sorted({path[0] for path in all_names(document)} - RESERVED_NAMES - document.inputs.keys())
    schemas = inferred_schemas(document)
    return document.model_copy(
        update={
            "inputs": {**document.inputs, **{name: {} for name in used}},
            "steps": tuple(_with_schema(step, schemas) for step in document.steps),
        }
    )


def all_names(document: Document) -> frozenset[NamePath]:
    """Names in every template of the document."""
    return output_names(document.outputs).union(*(references(step) for step in document.steps))


def fields_read(names: frozenset[NamePath]) -> dict[str, tuple[str, ...]]:
    """Step -> fields of its value that templates read, sorted."""
    fields: dict[str, set[str]] = {}
    for path in names:
        field = value_field(path)
        if field:
            fields.setdefault(path[1], set()).add(field)
    return {step: tuple(sorted(found)) for step, found in fields.items()}


def inferred_schema(fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An object with these fields, all required."""
    properties = {name: dict(schema) for name, schema in fields.items()}
    return {"type": "object", "properties": properties, "required": [*fields], "additionalProperties": False}


def inferred_schemas(document: Document) -> dict[str, dict[str, Any]]:
    """Schema of each step that declares none and that others rely on: fields of any type, or pipelines where those are wanted."""
    wanted = wanted_pipelines(document)
    schemas = {
        step: inferred_schema({field: wanted.of_fields.get((step, field), {}) for field in fields})
        for step, fields in fields_read(all_names(document)).items()
    }
    for step in walk(document.steps):
        whole = wanted.of_steps.get(step.name)
        if kind_of(step).answers_many or not answers_schema(step):
            schemas.pop(step.name, None)
        if whole is not None and (kind_of(step).answers_many or answers_schema(step)):
            schemas.setdefault(step.name, dict(whole))
    return schemas


def _with_schema(step: Step, schemas: Mapping[str, dict[str, Any]]) -> Step:
    step = _with_inner_schemas(step, schemas)
    if step.output_schema is not None or step.name not in schemas:
        return step
    return step.model_copy(update={"output_schema": schemas[step.name]})


def _with_inner_schemas(step: Step, schemas: Mapping[str, dict[str, Any]]) -> Step:
    """Rebuilds a step from its flat form where a step inside it needs a schema: only its type knows where inner steps stand."""
    inner = [member for member in walk((step,)) if member is not step]
    needing = {member.name for member in inner if member.name in schemas and member.output_schema is None}
    if not needing:
        return step
    return Step.model_validate(_schemas_added(step.flat(), needing, schemas))


def _schemas_added(value: Any, needing: set[str], schemas: Mapping[str, dict[str, Any]]) -> Any:
    if isinstance(value, list):
        return [_schemas_added(member, needing, schemas) for member in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _schemas_added(member, needing, schemas) for key, member in value.items()}
    if value.get("name") in needing and "type" in value and "schema" not in value:
        changed["schema"] = schemas[value["name"]]
    return changed
