"""Schemas that documents and models write are applied in bounded time, and never reach outside."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.errors import InvalidInputError
from shared.pipeline.loading import load_document
from shared.pipeline.schema_validation import violations

DOUBLING = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 40)}


def with_schema(schema: Any) -> dict[str, Any]:
    return {"name": "p", "steps": [{"name": "a", "type": "claude", "prompt": "x", "schema": schema}]}


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        ({"type": "string", "pattern": "^(a+)+$"}, "a" * 50_000 + "!", "does not match"),
        ({"patternProperties": {"^(a+)+$": {"type": "string"}}}, {"a" * 5000: 1}, "is not of type"),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 5000 + "!": 1}, "additional properties"),
        ({"type": "object", "$ref": "#"}, {}, "refers to itself without end"),
        ({"$ref": "#/$defs/d39", "$defs": {"d0": {}, **DOUBLING}}, {}, "refers to itself without end"),
        ({"$ref": "#/$defs/gone"}, {}, "cannot be applied"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, {}, "cannot be applied"),
        ({"uniqueItems": True}, [{"a": n} if n % 2 else [n] for n in range(20_000)] + [[0.0]], "equal members"),
    ],
)
def test_a_schema_that_would_run_or_reach_without_bound_only_says_what_does_not_fit(schema: Any, value: Any, reason: str) -> None:
    assert reason in violations(value, schema)[0].message


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "(((x{100}){100}){100}){100}", "("])
def test_a_pattern_that_cannot_be_matched_in_linear_time_is_an_error_before_the_run(pattern: str) -> None:
    for schema in ({"type": "string", "pattern": pattern}, {"type": "object", "patternProperties": {pattern: {}}}):
        with pytest.raises(InvalidInputError, match="schema"):
            load_document(with_schema({"type": "object", "properties": {"s": schema}}))


@pytest.mark.parametrize("word", ["$ref", "$dynamicRef"])
def test_a_schema_that_refers_to_another_place_is_an_error_before_the_run(word: str) -> None:
    with pytest.raises(InvalidInputError, match="may only refer to itself"):
        load_document(with_schema({"type": "object", "properties": {"a": {word: "http://127.0.0.1:9/x.json"}}}))


TREE = {"type": "object", "properties": {"of": {"type": "array", "items": {"$ref": "#"}}}, "additionalProperties": False}


def test_a_schema_of_a_tree_is_applied_at_every_depth() -> None:
    value: dict[str, Any] = {"of": []}
    for _ in range(30):
        value = {"of": [value, value]} if _ < 5 else {"of": [value]}
    assert violations(value, TREE) == []
    assert violations({"of": [{"of": [{"off": []}]}]}, TREE)[0].json_path == "$.of[0].of[0]"


NAMES = st.sampled_from(["a", "b", "ab", "x1"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, "a", "ab", "x1", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.dictionaries(NAMES, st.sampled_from([{"type": "string"}, {"type": "integer"}, {}]), max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "[0-9]", "b$"]), st.just({"type": "string"}), max_size=2),
        "additionalProperties": st.sampled_from([True, False, {"type": "integer"}]),
        "pattern": st.sampled_from(["^a", "[0-9]", "b$"]),
        "uniqueItems": st.booleans(),
    },
)


@given(schema=SCHEMAS, value=VALUES)
def test_what_fits_is_what_fits_json_schema(schema: dict[str, Any], value: Any) -> None:
    assert bool(violations(value, schema)) == (not Draft202012Validator(schema).is_valid(value))
