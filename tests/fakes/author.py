"""A model that does as it is asked, for the provider stand-in: calls functions, fills schemas, names what it read.

Nothing in it knows a document: what it answers follows from the request alone."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.fakes.provider_standin import ProviderStandin, Reply, tool_call

_VARIANT = re.compile(r"variant ([A-Z])", re.IGNORECASE)
_COMPARED = re.compile(r'"pipeline": "([a-z0-9_@]+)"')
_PARAMETERS = ("input_schema", "parametersJsonSchema", "parameters_json_schema", "parameters")
_LONGEST = 80


class Author:
    """One call at a time: it looks at the stand-in's latest request for the functions that it is offered."""

    def __init__(self, standin: ProviderStandin) -> None:
        self._standin = standin

    def __call__(self, messages: list[dict[str, str]], schema: dict[str, Any] | None) -> str | dict[str, Any] | Reply:
        said = messages[-1]["text"]
        body = self._standin.requests[-1].body
        if _must_call(body):
            name, parameters = _offered(body)
            return tool_call(name, filled(parameters, said))
        return f"About: {said[:_LONGEST]}" if schema is None else filled(schema, said)


def filled(schema: dict[str, Any], said: str) -> Any:
    """A value of the schema; texts tell what was asked, names what stood in it."""
    if "const" in schema or schema.get("enum"):
        return schema.get("const", schema.get("enum", [None])[0])
    if schema.get("anyOf"):
        return filled(schema["anyOf"][0], said)
    kind = schema.get("type", "string")
    if kind == "object":
        return {name: filled(inner, said) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [filled(schema.get("items", {}), said) for _ in range(max(1, schema.get("minItems", 1)))]
    plain: dict[str, Any] = {"number": 0.5, "integer": 1, "boolean": True}
    return plain[kind] if kind in plain else _text(schema, said)


def _text(schema: dict[str, Any], said: str) -> str:
    compared = _COMPARED.findall(said)
    if schema.get("pattern"):
        variant = _VARIANT.search(said)
        return f"variant_{variant[1].lower()}" if variant else "draft"
    return str(compared[-1]) if compared else f"About: {said[: min(_LONGEST, schema.get('maxLength', _LONGEST)) - 7]}"


def _must_call(body: dict[str, Any]) -> bool:
    choice = json.dumps([body.get("tool_choice"), body.get("toolConfig")])
    return '"any"' in choice.lower()


def _offered(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    tool = body["tools"][0]
    declared = tool.get("functionDeclarations", [tool])[0]
    schemas: list[dict[str, Any]] = [declared[key] for key in _PARAMETERS if key in declared]
    return str(declared["name"]), schemas[0] if schemas else {}
