from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.pipeline.schema_shorthand import SchemaShorthandError, parameters_schema, to_json_schema

CLOSED = {"additionalProperties": False}


@pytest.mark.parametrize(
    ("written", "schema"),
    [
        ("any", {}),
        ("integer", {"type": "integer"}),
        (["a"], {"type": "array", "items": {"type": "object", "properties": {"a": {}}, "required": ["a"], **CLOSED}}),
        (["string"], {"type": "array", "items": {"type": "string"}}),
        (
            [{"a": "number"}],
            {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"], **CLOSED}},
        ),
        ({"a": {"b": "boolean"}}, None),
        ({"type": "string", "maxLength": 5}, {"type": "string", "maxLength": 5}),
        ({"enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"title": "anything at all"}, {"title": "anything at all"}),
        ({"default": []}, {"default": []}),
        ({"type": "string", "amount": "number"}, None),
        ({"title": "string", "items": "array"}, None),
    ],
)
def test_the_shorthand_becomes_json_schema_that_stays_as_it_is(written: Any, schema: Any) -> None:
    made = to_json_schema(written)
    Draft202012Validator.check_schema(made)
    assert to_json_schema(made) == made
    if schema is None:
        assert set(made["properties"]) == set(written)
        assert made["required"] == sorted(written)
    else:
        assert made == schema


@pytest.mark.parametrize(
    ("written", "location"),
    [
        ("strng", ()),
        ({"a": "nmber"}, ("a",)),
        ({"a": {"b": 5}}, ("a", "b")),
        ([], ()),
        (["a", "a"], ()),
        (["a", {"b": "string"}], ()),
        ({"type": "string", "maxLength": "x"}, ("maxLength",)),
        ({"$ref": "file:///etc/passwd"}, ("$ref",)),
        ({"type": "object", "properties": {"a": {"$ref": "http://x"}}}, ("properties", "a", "$ref")),
        (None, ()),
        (3.5, ()),
    ],
)
def test_what_is_no_schema_is_refused_with_its_place(written: Any, location: tuple[str, ...]) -> None:
    with pytest.raises(SchemaShorthandError) as caught:
        to_json_schema(written)
    assert caught.value.faults[0][0] == location


def test_a_list_of_values_of_a_parameter_is_an_enumeration() -> None:
    validator = Draft202012Validator(parameters_schema({"metrics_types": ["latency", "error_rate"], "limit": "integer"}))
    assert validator.is_valid({"metrics_types": ["latency"], "limit": 3})
    assert validator.is_valid({"metrics_types": "latency", "limit": 3})
    assert not validator.is_valid({"metrics_types": ["colour"], "limit": 3})
    assert parameters_schema(None) == {"type": "object", "properties": {}}
