"""What is known about each message: subject, who emits and consumes it, fields with types and docs, an example."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from shared.events import Command, Fact, Message, catalogue
from shared.messaging.catalogue.examples import example_of
from shared.messaging.topology import consumers, durables, emitters
from shared.pipeline.attribute_docs import attribute_docs


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    required: bool
    default: str
    """As JSON; empty for required fields."""
    meaning: str


@dataclass(frozen=True)
class Described:
    name: str
    subject: str
    kind: Literal["command", "fact", "query"]
    meaning: str
    emitters: tuple[str, ...]
    consumers: tuple[str, ...]
    durables: tuple[str, ...]
    fields: tuple[Field, ...]
    example: dict[str, Any]
    schema: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A structure inside of messages."""

    name: str
    meaning: str
    fields: tuple[Field, ...]


def describe_parts() -> tuple[Part, ...]:
    """Every structure that some message contains, by name."""
    named = {name for message in catalogue() for name in message.model_json_schema().get("$defs", {})}
    classes = {model.__name__: model for model in _subclasses(BaseModel) if model.__module__.startswith("shared.")}
    return tuple(
        Part(name, inspect.cleandoc(classes[name].__doc__ or ""), fields_of(classes[name], classes[name].model_json_schema()))
        for name in sorted(named)
    )


def _subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _subclasses(child)


def describe_all() -> tuple[Described, ...]:
    return tuple(describe(message) for message in catalogue())


def describe(message: type[Message]) -> Described:
    schema = message.model_json_schema()
    return Described(
        name=message.__name__,
        subject=message.subject,
        kind="command" if issubclass(message, Command) else "fact" if issubclass(message, Fact) else "query",
        meaning=inspect.cleandoc(message.__doc__ or ""),
        emitters=emitters(message),
        consumers=consumers(message),
        durables=tuple(durable.name for durable in durables() if durable.filter_subject == message.subject),
        fields=fields_of(message, schema),
        example=example_of(message),
        schema=schema,
    )


def fields_of(model: type[BaseModel], schema: dict[str, Any]) -> tuple[Field, ...]:
    docs = attribute_docs(model)
    required = set(schema.get("required", ()))
    return tuple(
        Field(
            name=name,
            type=type_name(facts),
            required=name in required,
            default=json.dumps(facts["default"]) if "default" in facts else "",
            meaning=docs.get(name, ""),
        )
        for name, facts in schema.get("properties", {}).items()
    )


def type_name(facts: dict[str, Any]) -> str:
    """A JSON Schema in a few words: `array of Case, at most 500`."""
    if "$ref" in facts:
        return str(facts["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in facts:
        return " or ".join(type_name(option) for option in facts["anyOf"])
    if "enum" in facts:
        return " / ".join(f"`{value}`" for value in facts["enum"])
    if "const" in facts:
        return f"`{facts['const']}`"
    return _plain(facts)


def _plain(facts: dict[str, Any]) -> str:
    kind = str(facts.get("type", "any"))
    if kind == "array":
        inner = type_name(facts["items"]) if "items" in facts else "any"
        return f"array of {inner}" + _bounds(facts, "minItems", "maxItems")
    if kind == "object" and isinstance(facts.get("additionalProperties"), dict):
        return f"map to {type_name(facts['additionalProperties'])}"
    low, high = ("minLength", "maxLength") if kind == "string" else ("minimum", "maximum")
    return kind + _bounds(facts, low, high)


def _bounds(facts: dict[str, Any], low: str, high: str) -> str:
    at_least = f", at least {facts[low]}" if facts.get(low) else ""
    at_most = f", at most {facts[high]}" if high in facts else ""
    return at_least + at_most
