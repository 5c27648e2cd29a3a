"""What a document leaves unsaid and the loader writes down: required inputs and the schemas that other steps rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.pipeline.document import RESERVED_NAMES, Document, Step
from shared.pipeline.names import ENVELOPE_FIELDS
from shared.pipeline.template_names import NamePath
from shared.pipeline.walk import answers_schema, output_names, references, walk

VALUE_NAMES = frozenset(("value", "result", "results"))


def complete(document: Document) -> Document:
    """The document with every used name declared and a schema on each answering step whose fields others read."""
    names = all_names(document)
    used = sorted({path[0] for path in names} - RESERVED_NAMES - document.inputs.keys())
    fields = fields_read(names)
    return document.model_copy(
        update={
            "inputs": {**document.inputs, **{name: {} for name in used}},
            "steps": tuple(_with_schema(step, fields) for step in document.steps),
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


def value_field(path: NamePath) -> str:
    """The field of a step's value that a path reads: `winner` of `steps.x.winner` and of `steps.x.result.winner`; or empty."""
    if path[0] != "steps" or len(path) < 3:
        return ""
    if path[2] in VALUE_NAMES:
        return path[3] if len(path) > 3 and not path[3].lstrip("-").isdigit() else ""
    return "" if path[2] in ENVELOPE_FIELDS else path[2]


def inferred_schema(fields: tuple[str, ...]) -> dict[str, Any]:
    """An object with these fields, of any type, all required."""
    properties: dict[str, Any] = {field: {} for field in fields}
    return {"type": "object", "properties": properties, "required": [*fields], "additionalProperties": False}


def _with_schema(step: Step, fields: Mapping[str, tuple[str, ...]]) -> Step:
    step = _with_inner_schemas(step, fields)
    if step.output_schema is not None or not answers_schema(step) or step.name not in fields:
        return step
    return step.model_copy(update={"output_schema": inferred_schema(fields[step.name])})


def _with_inner_schemas(step: Step, fields: Mapping[str, tuple[str, ...]]) -> Step:
    """Rebuilds a step from its flat form where a step inside it needs a schema: only its type knows where inner steps stand."""
    inner = [member for member in walk((step,)) if member is not step]
    needing = {m.name for m in inner if m.name in fields and m.output_schema is None and answers_schema(m)}
    if not needing:
        return step
    return Step.model_validate(_schemas_added(step.flat(), needing, fields))


def _schemas_added(value: Any, needing: set[str], fields: Mapping[str, tuple[str, ...]]) -> Any:
    if isinstance(value, list):
        return [_schemas_added(member, needing, fields) for member in value]
    if not isinstance(value, dict):
        return value
    changed = {key: _schemas_added(member, needing, fields) for key, member in value.items()}
    if value.get("name") in needing and "type" in value and "schema" not in value:
        changed["schema"] = inferred_schema(fields[value["name"]])
    return changed
