from __future__ import annotations

import json
from typing import Any

import pytest

from evoline.model_server.chat import ChatRequest, RequestRefusedError, ToolDefinition, Turn
from evoline.model_server.constraints import constraint_for, of_schema


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def test_a_label_is_opened_in_the_prompt_and_only_its_word_is_generated() -> None:
    constraint = of_schema(closed({"label": {"type": "string", "enum": ["positive", "negative"]}}))
    assert constraint.prefix == '{"label":"'
    assert constraint.choices == ('positive"}', 'negative"}')


def test_a_choice_is_complete_as_soon_as_it_can_be_no_other() -> None:
    constraint = of_schema(closed({"label": {"enum": ["positive", "negative", "neutral"]}}))
    assert constraint.completed("ne") is None
    assert constraint.completed("neu") == '{"label":"neutral"}'
    assert constraint.completed("other") is None


def test_a_choice_that_begins_another_is_complete_only_with_its_closing_quote() -> None:
    constraint = of_schema(closed({"label": {"enum": ["a", "ab"]}}))
    assert constraint.completed("a") is None
    assert constraint.completed('a"') == '{"label":"a"}'


def test_numbers_and_truth_values_are_choices_too() -> None:
    assert of_schema(closed({"n": {"enum": [1, 2]}})).choices == ("1}", "2}")
    assert of_schema(closed({"yes": {"type": "boolean"}})).choices == ("true}", "false}")


def test_a_bare_enumeration_is_a_choice() -> None:
    assert of_schema({"enum": ["a", "b"]}).completed("b") == '"b"'


def test_several_properties_are_written_in_order_behind_the_first_name() -> None:
    constraint = of_schema(closed({"name": {"type": "string"}, "age": {"type": "integer"}}))
    assert constraint.prefix == '{"name":'
    assert not constraint.choices
    assert '",\\"age\\":"' in constraint.grammar


def test_constant_beginnings_are_never_generated() -> None:
    constraint = of_schema(closed({"name": {"const": "lookup"}, "arguments": {"type": "object"}}))
    assert constraint.prefix == '{"name":"lookup","arguments":'


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}},
        closed({"a": {"$ref": "#/$defs/x"}}) | {"$defs": {"x": {"type": "string"}}},
        {"anyOf": [closed({"a": {"const": 1}}), closed({"b": {"const": 2}})]},
    ],
)
def test_a_schema_whose_parts_do_not_stand_alone_is_left_whole(schema: dict[str, Any]) -> None:
    constraint = of_schema(schema)
    assert (constraint.prefix, constraint.choices) == ("", ())
    assert json.loads(constraint.grammar.partition("%json")[2])["x-guidance"]["whitespace_flexible"] is False


def test_a_list_of_different_choices_is_the_choice_of_one_such_list() -> None:
    kinds = {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 1, "uniqueItems": True}
    constraint = of_schema(closed({"kinds": kinds}))
    lists = ['["a"]', '["b"]', '["c"]', '["a","b"]', '["a","c"]', '["b","c"]', '["a","b","c"]']
    assert [constraint.prefix + choice for choice in constraint.choices] == [f'{{"kinds":{each}}}' for each in lists]


def test_lists_that_may_repeat_or_have_many_choices_stay_as_they_are() -> None:
    repeating = {"type": "array", "items": {"enum": ["a", "b"]}}
    many = {"type": "array", "items": {"enum": [*"abcdefgh"]}, "uniqueItems": True}
    for schema in (repeating, many):
        assert "uniqueItems" in of_schema(schema).grammar or schema is repeating
        assert of_schema(schema).choices == ()


def test_what_is_no_schema_is_refused_with_the_reason() -> None:
    with pytest.raises(RequestRefusedError, match="not a JSON Schema"):
        of_schema({"type": "foo"})


def test_unicode_reaches_the_grammar_as_it_is() -> None:
    assert of_schema(closed({"stimmung": {"enum": ["größer", "kleiner"]}})).choices[0] == 'größer"}'


def test_one_forced_tool_leaves_only_its_arguments_to_the_model() -> None:
    tool = ToolDefinition("lookup", "", {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]})
    request = ChatRequest("m", (Turn("user", "q"),), tools=(tool,), forced_tools=("lookup",))
    constraint = constraint_for(request)
    assert constraint is not None
    assert constraint.prefix == '{"name":"lookup","arguments":'


def test_a_request_without_schema_or_forced_tool_is_free() -> None:
    assert constraint_for(ChatRequest("m", (Turn("user", "q"),))) is None
