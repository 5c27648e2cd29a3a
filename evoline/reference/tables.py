"""Models as tables: keys with type, default and meaning, read from the classes themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from shared.messaging.catalogue.description import type_name
from shared.pipeline.attribute_docs import attribute_docs, models_inside
from shared.pipeline.document import STEP_MARK, Step

Rows = list[tuple[str, ...]]
HEAD = ("key", "type", "default", "meaning")
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines)


def rows_of(model: type[BaseModel]) -> Rows:
    """(key, type, default, meaning) of every field, as documents write the key."""
    schema = model.model_json_schema(by_alias=True)
    docs, required = attribute_docs(model), set(schema.get("required", ()))
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    return [
        (f"`{key}`", spoken(facts), "required" if key in required else default_of(facts), docs.get(names.get(key, key), ""))
        for key, facts in schema.get("properties", {}).items()
    ]


def default_of(facts: Mapping[str, Any]) -> str:
    return f"`{json.dumps(facts['default'])}`" if facts.get("default") not in (None, "", [], {}) else ""


def spoken(facts: Mapping[str, Any]) -> str:
    """A field's type in a few words. Null is left out, because it means the same as leaving the key out."""
    if "anyOf" in facts:
        kinds = [spoken(option) for option in facts["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if facts.get(STEP_MARK):
        return "step"
    if facts.get("type") == "array" and facts.get("items", {}).get(STEP_MARK):
        return "array of steps"
    if isinstance(facts.get("type"), list):
        return " or ".join(facts["type"])
    return _with_exclusive_bounds({_BOUNDS.get(key, key): value for key, value in facts.items()})


def _with_exclusive_bounds(facts: dict[str, Any]) -> str:
    above = f", above {facts['exclusiveMinimum']}" if "exclusiveMinimum" in facts else ""
    return type_name(facts) + above


def parts_of(models: Iterable[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Models that stand inside the fields of these, by name; steps are told elsewhere."""
    found = {name: inner for model in models for name, inner in models_inside(model).items() if inner is not Step}
    return {name: found[name] for name in sorted(found)}


def one_line(text: str | None) -> str:
    return " ".join((text or "").split())
