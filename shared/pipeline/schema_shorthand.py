"""The schema shorthand of the language, turned into full JSON Schema (draft 2020-12).

[a, b]                 array of objects with the fields a and b, of any type
[{a: string}]          array of that object
{a: number, b: {...}}  object with these fields, all required
string                 that type: string number integer boolean array object any
full JSON Schema       accepted wherever the shorthand is
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from shared.pipeline.schema_validation import pattern_problem
from shared.pipeline.suggestions import did_you_mean

TYPE_NAMES = ("string", "number", "integer", "boolean", "array", "object", "any")
_JSON_TYPES = frozenset((*TYPE_NAMES[:-1], "null"))
_SCHEMA_MARKS = frozenset(("$ref", "anyOf", "oneOf", "allOf", "enum", "const", "not", "$schema"))
_SCHEMA_WORDS = frozenset(
    (
        "additionalProperties",
        "default",
        "dependentRequired",
        "description",
        "deprecated",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "nullable",
        "pattern",
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "required",
        "title",
        "type",
        "uniqueItems",
        "$defs",
        "$id",
    )
)

_META = Draft202012Validator(Draft202012Validator.META_SCHEMA)

Location = tuple[str | int, ...]


Fault = tuple[Location, str, str]
"""(where inside the schema, reason, what to write instead)"""


class SchemaShorthandError(ValueError):
    """Carries every fault of the schema; the message is the first one's."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__(self.faults[0][1])


def _wrong(at: Location, reason: str, suggestion: str = "") -> SchemaShorthandError:
    return SchemaShorthandError([(at, reason, suggestion)])


def to_json_schema(value: Any) -> dict[str, Any]:
    """Full JSON Schema of a shorthand or of a JSON Schema; the result maps to itself. Raises `SchemaShorthandError`."""
    schema = _convert(value, ())
    faults = _schema_faults(json.dumps(schema, default=str))
    if faults:
        raise SchemaShorthandError(faults)
    _refuse_remote_references(schema, ())
    return schema


def parameters_schema(value: Any) -> dict[str, Any]:
    """JSON Schema of a function's arguments object: like the shorthand, but a list of values is an enum and absent means none.

    An enum of several values may be asked for as one value or as a list of them."""
    if not value:
        return {"type": "object", "properties": {}}
    if not isinstance(value, Mapping):
        raise _wrong((), "must be a map from name to type or list of values", "write `parameters: {limit: integer, kind: [a, b]}`")
    if looks_like_json_schema(value):
        return to_json_schema(value)
    enumerations = {name: _enumeration(field) for name, field in value.items() if _is_enumeration(field)}
    others = _members({name: field for name, field in value.items() if name not in enumerations}, ())
    return _object({name: enumerations[name] if name in enumerations else others[name] for name in value})


def looks_like_json_schema(value: Mapping[str, Any]) -> bool:
    """Whether a map is JSON Schema and not a shorthand object that happens to have a field called `type`."""
    if not value or not _SCHEMA_MARKS.isdisjoint(value):
        return True
    kind = value.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if all(isinstance(each, str) and each in _JSON_TYPES for each in kinds):
        return _SCHEMA_WORDS.issuperset(value)
    if isinstance(value.get("properties"), Mapping):
        return True
    return _SCHEMA_WORDS.issuperset(value) and ("default" in value or not all(_is_shorthand(field) for field in value.values()))


@lru_cache(maxsize=1024)
def _schema_faults(schema: str) -> tuple[Fault, ...]:
    """Where and why a text is no JSON Schema. Remembered: a search loads the same few schemas in hundreds of documents."""
    errors = sorted(_META.iter_errors(json.loads(schema)), key=lambda error: [str(part) for part in error.absolute_path])
    return (*(_meta_fault(error) for error in errors[:20]), *_pattern_faults(json.loads(schema), ()))


def _pattern_faults(schema: Any, at: Location) -> Iterator[Fault]:
    """Patterns are matched in linear time, so they may not look around or refer back."""
    if isinstance(schema, Mapping):
        several = schema.get("patternProperties")
        for pattern in [schema.get("pattern"), *(several if isinstance(several, Mapping) else ())]:
            if isinstance(pattern, str) and (problem := pattern_problem(pattern)):
                yield (*at, "pattern"), f"the pattern {pattern[:80]!r} cannot be used: {problem}", "write it in RE2 syntax"
    for key, member in schema.items() if isinstance(schema, Mapping) else enumerate(schema) if isinstance(schema, list) else ():
        yield from _pattern_faults(member, (*at, key))


def _meta_fault(error: ValidationError) -> Fault:
    at = tuple(error.absolute_path)
    if at and at[-1] == "type" and isinstance(error.instance, str):
        return at, f"unknown type `{error.instance}`", did_you_mean(error.instance, tuple(sorted(_JSON_TYPES)))
    return at, f"not a JSON Schema: {error.message[:200]}", ""


def _is_shorthand(field: Any) -> bool:
    return field in TYPE_NAMES if isinstance(field, str) else isinstance(field, Mapping | list)


def _convert(value: Any, at: Location) -> dict[str, Any]:
    if isinstance(value, str):
        return _named(value, at)
    if isinstance(value, Mapping):
        return _map(value, at)
    if isinstance(value, Sequence):
        return _list(value, at)
    raise _wrong(at, f"a schema cannot be {value!r}"[:200], f"one of {', '.join(TYPE_NAMES)}, a map or a list")


def _members(fields: Mapping[str, Any], at: Location) -> dict[str, dict[str, Any]]:
    """Each field's schema. Raises with the faults of all of them."""
    converted: dict[str, dict[str, Any]] = {}
    faults: list[Fault] = []
    for name, field in fields.items():
        try:
            converted[name] = _convert(field, (*at, name))
        except SchemaShorthandError as error:
            faults.extend(error.faults)
    if faults:
        raise SchemaShorthandError(faults)
    return converted


def _named(name: str, at: Location) -> dict[str, Any]:
    if name == "any":
        return {}
    if name in TYPE_NAMES:
        return {"type": name}
    raise _wrong(at, f"unknown type `{name}`", did_you_mean(name, TYPE_NAMES))


def _map(value: Mapping[str, Any], at: Location) -> dict[str, Any]:
    if looks_like_json_schema(value):
        return dict(value)
    return _object(_members(value, at))


def _list(value: Sequence[Any], at: Location) -> dict[str, Any]:
    if len(value) == 1 and isinstance(value[0], Mapping):
        return {"type": "array", "items": _map(value[0], (*at, 0))}
    if len(value) == 1 and value[0] in TYPE_NAMES:
        return {"type": "array", "items": _named(value[0], (*at, 0))}
    if not value:
        raise _wrong(at, "an empty list is no schema", "name the fields of the listed objects, or write `array`")
    names = [name for name in value if isinstance(name, str)]
    if len(names) != len(value) or len(set(names)) != len(names):
        raise _wrong(at, "a list must hold field names without repetition, or exactly one map", "write `[a, b]` or `[{a: string}]`")
    return {"type": "array", "items": _object({name: {} for name in names})}


def _object(properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    # Sorted, so that the order of keys does not change a digest.
    return {"type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False}


def _is_enumeration(field: Any) -> bool:
    return isinstance(field, list) and bool(field) and all(isinstance(each, str | int | float | bool) for each in field)


def _enumeration(values: list[Any]) -> dict[str, Any]:
    one = {"enum": [*values]}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": len(values), "uniqueItems": True}]}


def _refuse_remote_references(schema: Any, at: Location) -> None:
    if isinstance(schema, Mapping):
        for word in ("$ref", "$dynamicRef"):
            reference = schema.get(word)
            if isinstance(reference, str) and not reference.startswith("#"):
                raise _wrong((*at, word), "a schema may only refer to itself", "write the referenced schema out")
        for key, field in schema.items():
            _refuse_remote_references(field, (*at, key))
    elif isinstance(schema, list):
        for index, field in enumerate(schema):
            _refuse_remote_references(field, (*at, index))
