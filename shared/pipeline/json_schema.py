"""JSON Schema of the language, for editors and other tools: `python -m shared.pipeline.json_schema [FILE]`.

Generated from the models and the step registry. It describes shape; references, templates and limits are checked by `loading`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

import shared.pipeline.steps as step_types
from shared.pipeline.attribute_docs import attribute_docs, models_inside
from shared.pipeline.document import COMMON_KEYS, FIELD_OF_KEY, STEP_MARK, Defaults, Document, Limits, Retry, Step
from shared.pipeline.schema_shorthand import TYPE_NAMES

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_STEP = {"$ref": "#/$defs/step"}
_SHORTHAND = {"$ref": "#/$defs/schema"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_COMMON_OVERRIDES: dict[str, dict[str, Any]] = {
    "after": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    "when": {"type": ["string", "boolean"]},
    "schema": _SHORTHAND,
    "retry": {"$ref": "#/$defs/retry"},
    "on_error": {
        "anyOf": [
            {"enum": ["fail", "continue"]},
            {
                "type": "object",
                "properties": {"fallback": {"$ref": "#/$defs/fallback"}},
                "required": ["fallback"],
                "additionalProperties": False,
            },
        ]
    },
}


class _WrittenForms(GenerateJsonSchema):
    """Shapes as authors may write them: where a validator of ours normalises several spellings, any value is left to it.

    Inner steps are told all the same, because that is where most of a document stands: a list of them, or one without the list."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if not _holds_steps(inner):
            return {}
        return {"anyOf": [inner["items"], inner]} if "items" in inner else inner


def _holds_steps(schema: JsonSchemaValue) -> bool:
    # While a schema is being generated, models are told by the path of their class.
    text = json.dumps(schema)
    return STEP_MARK in text or f"{Step.__module__.replace('.', '__')}__{Step.__name__}" in text


def language_schema() -> dict[str, Any]:
    """The whole schema, the same for the same registry."""
    definitions: dict[str, Any] = {
        "document": _document(),
        "limits": _described(Limits, Limits.model_json_schema()),
        "retry": _described(Retry, Retry.model_json_schema()),
        "schema": {
            "description": "JSON Schema, or the shorthand: a type's name, a map of fields, [field names], [one map]",
            "anyOf": [{"enum": [*TYPE_NAMES]}, {"type": "object"}, {"type": "array", "minItems": 1}],
        },
    }
    definitions["defaults"] = _hoisted(Defaults.model_json_schema(), "defaults", definitions)
    # A fallback's name may be left out: it is made from the step's.
    definitions["fallback"] = _fallback(definitions)
    definitions["step"] = {"allOf": [{"$ref": "#/$defs/fallback"}], "required": ["name", "type"]}
    return {
        "$schema": DRAFT,
        "title": "Evoline pipeline",
        "anyOf": [
            {"$ref": "#/$defs/document"},
            {"type": "object", "properties": {"workflow": {"$ref": "#/$defs/document"}}, "required": ["workflow"]},
        ],
        "$defs": {name: _with_standard_bounds(definitions[name]) for name in sorted(definitions)},
    }


def written(schema: dict[str, Any]) -> str:
    """The text of the file `pipelines/schema.json`."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _document() -> dict[str, Any]:
    plain = _described(Document, Document.model_json_schema())["properties"]
    properties: dict[str, Any] = {name: plain[name] for name in ("name", "description", "domain", "execution")}
    properties["inputs"] = {"type": "object", "additionalProperties": _SHORTHAND}
    properties["defaults"] = {"$ref": "#/$defs/defaults"}
    properties["limits"] = {"$ref": "#/$defs/limits"}
    properties["steps"] = {"type": "array", "items": _STEP, "minItems": 1, "maxItems": 200}
    properties["outputs"] = {"type": "object"}
    return {"type": "object", "properties": properties, "required": ["name", "steps"], "additionalProperties": False}


def _fallback(definitions: dict[str, Any]) -> dict[str, Any]:
    docs = attribute_docs(Step)
    properties = {key: _COMMON_OVERRIDES.get(key) or _common(key) for key in COMMON_KEYS}
    for key in [each for each in COMMON_KEYS if FIELD_OF_KEY.get(each, each) in docs]:
        properties[key] = {**properties[key], "description": docs[FIELD_OF_KEY.get(key, key)]}
    properties["type"] = {"enum": sorted(step_types.type_names())}
    return {
        "type": "object",
        "properties": properties,
        "required": ["type"],
        "allOf": [_own_keys(name, definitions) for name in sorted(step_types.type_names())],
        "unevaluatedProperties": False,
    }


def _common(key: str) -> dict[str, Any]:
    field = Step.model_fields[FIELD_OF_KEY.get(key, key)]
    return TypeAdapter(field.rebuild_annotation()).json_schema()


def _own_keys(type_name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    model = step_types.step_type(type_name).options
    written = _described(model, model.model_json_schema(by_alias=True, schema_generator=_WrittenForms))
    options = _hoisted(written, type_name, definitions)
    then = {key: options[key] for key in ("properties", "required") if key in options}
    return {"if": {"properties": {"type": {"const": type_name}}, "required": ["type"]}, "then": then}


def _described(model: type[BaseModel], schema: dict[str, Any]) -> dict[str, Any]:
    """With what stands under the fields in the source, for editors that show it."""
    _describe(model, schema)
    for name, inner in models_inside(model).items():
        _describe(inner, schema.get("$defs", {}).get(name, {}))
    return schema


def _describe(model: type[BaseModel], schema: dict[str, Any]) -> None:
    docs = attribute_docs(model)
    for name, field in model.model_fields.items():
        member = schema.get("properties", {}).get(field.alias or name)
        if member is not None and name in docs:
            member["description"] = docs[name]


def _hoisted(schema: dict[str, Any], prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema with its own definitions moved to the root under `<prefix>.<name>`."""
    own = schema.pop("$defs", {})
    for name, definition in own.items():
        definitions[f"{prefix}.{name}"] = _redirected(definition, prefix)
    moved: dict[str, Any] = _redirected(schema, prefix)
    return moved


def _redirected(value: Any, prefix: str) -> Any:
    if isinstance(value, list):
        return [_redirected(member, prefix) for member in value]
    if not isinstance(value, dict):
        return value
    if value.get(STEP_MARK):
        return dict(_STEP)
    changed = {key: _redirected(member, prefix) for key, member in value.items()}
    reference = changed.get("$ref")
    if isinstance(reference, str):
        changed["$ref"] = reference.replace("#/$defs/", f"#/$defs/{prefix}.", 1)
    return changed


def _with_standard_bounds(value: Any) -> Any:
    """pydantic writes bounds that follow a validator of our own under its own names."""
    if isinstance(value, list):
        return [_with_standard_bounds(member) for member in value]
    if not isinstance(value, dict):
        return value
    return {
        _BOUNDS.get(key, key) if isinstance(member, int | float) else key: _with_standard_bounds(member)
        for key, member in value.items()
    }


def main(arguments: list[str]) -> None:
    text = written(language_schema())
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
