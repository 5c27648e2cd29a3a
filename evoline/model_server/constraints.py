"""A JSON Schema -> what the model need not generate, and a grammar for what it must.

Decoding costs about forty milliseconds a token, reading a given token a quarter of that. So text that every valid answer begins
with (`{"label":"`) is put into the prompt, an answer that is one of few choices ends as soon as it can be no other, and no
white space is generated. All properties are written, in the schema's order: a subset of what the schema allows.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import jsonschema

from evoline.model_server.chat import ChatRequest, ToolDefinition, invalid
from evoline.model_server.fitting import fitted

COMPACT = {"x-guidance": {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}}
HEADER = "%llguidance {}\n"
MOST_CHOICES = 64
MOST_UNIQUE = 6
"""Different choices of a list that are told as its 2^6 lists."""
NOT_SPLIT = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "additionalItems", "propertyNames")


@dataclass(frozen=True)
class Constraint:
    """The whole answer is `prefix` + the generated text, completed by `completed`."""

    prefix: str
    grammar: str
    choices: tuple[str, ...] = ()
    """All possible continuations of `prefix`, where they are few."""

    def completed(self, generated: str) -> str | None:
        """The whole answer, if `generated` already determines it."""
        possible = [choice for choice in self.choices if choice.startswith(generated)]
        return self.prefix + possible[0] if len(possible) == 1 else None


def constraint_for(request: ChatRequest) -> Constraint | None:
    """Raises `RequestRefusedError` for a schema that is none."""
    if request.schema is not None:
        return of_schema(request.schema, request.max_tokens)
    forced = [tool for tool in request.tools if tool.name in request.forced_tools]
    return of_schema(_call_of(forced), request.max_tokens) if forced else None


def of_schema(schema: dict[str, Any], max_tokens: int | None = None) -> Constraint:
    """With `max_tokens`, for values that fit into so many."""
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise invalid(f"not a JSON Schema: {error.message}") from error
    schema = _without_repeats(schema if max_tokens is None else fitted(schema, max_tokens))
    whole = _choices(schema)
    if whole:
        return _of_choices("", "", whole)
    properties = _properties(schema)
    if not properties:
        return Constraint("", HEADER + "start: %json " + json.dumps({**schema, **COMPACT}))
    opening, (name, first), others = _opening(properties)
    opening += _text(name) + ":"
    first_choices = _choices(first)
    if first_choices and not others:
        return _of_choices(opening, "}", first_choices)
    mark = _common_mark(first_choices)
    rest = [choice[len(mark) :] for choice in first_choices]
    return Constraint(opening + mark, _grammar(rest, first, others))


def _without_repeats(value: Any) -> Any:
    """Lists of different choices as all such lists in the order of the choices: no grammar holds a model to `uniqueItems`."""
    if isinstance(value, list):
        return [_without_repeats(member) for member in value]
    if not isinstance(value, dict):
        return value
    items = value.get("items")
    choices = _choices(items) if value.get("uniqueItems") is True and isinstance(items, dict) else []
    least, most = value.get("minItems", 0), min(value.get("maxItems", len(choices)), len(choices))
    if not 0 < len(choices) <= MOST_UNIQUE or least > most:
        return {key: _without_repeats(member) for key, member in value.items()}
    chosen = itertools.chain.from_iterable(itertools.combinations(choices, size) for size in range(least, most + 1))
    return {"enum": [[json.loads(each) for each in one] for one in chosen]}


def _opening(properties: dict[str, dict[str, Any]]) -> tuple[str, tuple[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Everything before the first property that leaves a choice; that property; and those after it."""
    opening, listed = "{", list(properties.items())
    while len(listed) > 1 and len(_choices(listed[0][1])) == 1:
        name, schema = listed.pop(0)
        opening += f"{_text(name)}:{_choices(schema)[0]},"
    return opening, listed[0], dict(listed[1:])


def _of_choices(opening: str, closing: str, values: list[str]) -> Constraint:
    mark = _common_mark(values)
    rest = tuple(value[len(mark) :] + closing for value in values)
    return Constraint(opening + mark, HEADER + "start: " + " | ".join(map(_quoted, rest)), rest)


def _common_mark(values: list[str]) -> str:
    """The quote that all begin with. Not more: half a word given makes the model stumble over the other half."""
    return '"' if values and all(value.startswith('"') for value in values) else ""


def _grammar(first_choices: list[str], first: dict[str, Any], others: dict[str, dict[str, Any]]) -> str:
    rules = [f"v0: {' | '.join(map(_quoted, first_choices))}" if first_choices else _rule(0, first)]
    sequence = "v0"
    for number, (name, schema) in enumerate(others.items(), start=1):
        sequence += f" {_quoted(',' + _text(name) + ':')} v{number}"
        rules.append(_rule(number, schema))
    return HEADER + f'start: {sequence} "}}"\n' + "\n".join(rules)


def _rule(number: int, schema: dict[str, Any]) -> str:
    return f"v{number}: %json {json.dumps({**schema, **COMPACT})}"


def _properties(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of an object whose parts stand on their own; empty for every other schema."""
    properties = schema.get("properties") or {}
    plain = schema.get("type", "object") == "object" and all(isinstance(inner, dict) for inner in properties.values())
    closed = schema.get("additionalProperties", False) in (False, True, {}) and set(schema.get("required", ())) == set(properties)
    text = json.dumps(schema)
    return properties if plain and closed and not any(f'"{word}"' in text for word in NOT_SPLIT) else {}


def _choices(schema: dict[str, Any]) -> list[str]:
    """Every value as JSON, where they are few; a constant is a choice of one."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is None and schema.get("type") == "boolean":
        values = [True, False]
    return [_text(value) for value in values] if values and len(values) <= MOST_CHOICES else []


def _call_of(tools: list[ToolDefinition]) -> dict[str, Any]:
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": tool.parameters},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quoted(literal: str) -> str:
    return json.dumps(literal, ensure_ascii=False)
