"""What a schema leaves open is bounded by the tokens of the request."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from evoline.model_server.fitting import CHARACTERS_A_TOKEN, SHORTEST_TEXT, fitted

NAMES = st.text("abcdefgh_", min_size=1, max_size=12)
LEAVES = st.sampled_from([{}, {"type": "string"}, {"type": "string", "maxLength": 5}, {"enum": ["yes", "no"]}, {"type": "boolean"}])


def parts(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    closed = st.dictionaries(NAMES, inner, min_size=1, max_size=4).map(
        lambda each: {"type": "object", "properties": each, "required": list(each), "additionalProperties": False}
    )
    return closed | inner.map(lambda each: {"type": "array", "items": each})


SCHEMAS = st.recursive(LEAVES, parts, max_leaves=6).filter(lambda schema: schema != {})


def largest(schema: dict[str, Any]) -> Any:
    if "properties" in schema:
        return {name: largest(each) for name, each in schema["properties"].items()}
    if schema.get("type") == "array":
        return [largest(schema["items"])] * schema["maxItems"]
    if schema.get("type") == "string":
        return "x" * schema["maxLength"]
    return schema.get("enum", [False])[0]


@given(SCHEMAS, st.integers(32, 4000))
def test_the_largest_value_fits_or_is_as_small_as_it_can_be(schema: dict[str, Any], max_tokens: int) -> None:
    bounded = fitted(schema, max_tokens)
    value = largest(bounded)
    least = largest(fitted(schema, 1))
    written = len(json.dumps(value, separators=(",", ":")))
    assert written <= max(max_tokens * CHARACTERS_A_TOKEN, len(json.dumps(least, separators=(",", ":"))))
    Draft202012Validator(schema).validate(value)


def test_values_of_any_type_become_texts_that_share_the_room() -> None:
    schema = {"type": "object", "properties": {"viable_concepts": {"description": "which"}}, "required": ["viable_concepts"]}
    (bounded,) = fitted(schema, 128)["properties"].values()
    assert (bounded["type"], bounded["description"]) == ("string", "which")
    assert 250 < bounded["maxLength"] < 320


def test_long_lists_of_large_objects_get_fewer_items_rather_than_words_without_letters() -> None:
    fields: dict[str, Any] = {
        name: {} for name in ("target_component", "improvement_type", "expected_benefit", "implementation_difficulty")
    }
    row = {"type": "object", "properties": fields, "required": list(fields)}
    schema = {"type": "object", "properties": {"improvements": {"type": "array", "items": row}}, "required": ["improvements"]}
    few, many = (fitted(schema, tokens)["properties"]["improvements"]["maxItems"] for tokens in (128, 1024))
    assert (few, many) == (1, 4)


def test_what_an_author_bounds_stays_and_any_json_at_the_root_stays_any_json() -> None:
    schema = {"type": "array", "items": {"type": "string", "maxLength": 600}, "maxItems": 20}
    assert fitted(schema, 10) == schema
    assert fitted({}, 10) == {}
    assert fitted({"type": "string"}, 1)["maxLength"] == SHORTEST_TEXT
