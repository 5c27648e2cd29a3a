"""Journal entries as lines of the store. What makes a line large is kept elsewhere, each value for itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json

from services.executor.domain.records import JournalEntry
from shared.large_values import INLINE_BYTES, ValueReference

_BYTES_A_CHARACTER = 4
"""At most, in UTF-8."""
_HEAD = ("run_id", "position", "epoch", "executor_id", "kind", "path", "type")
"""What the store itself is asked about; all else is JSON text, and left out where it says nothing."""
_PART_BYTES = INLINE_BYTES // 4
"""A smaller value is no reason why a line is large."""
_VARIABLE = "variables."
REFERENCES = TypeAdapter(dict[str, ValueReference])


def line_id(run_id: str, position: int) -> str:
    return f"{run_id}:{position:06d}"


def written(entry: JournalEntry) -> dict[str, Any]:
    head = {name: getattr(entry, name) for name in _HEAD}
    body = entry.model_dump_json(exclude=set(_HEAD), exclude_defaults=True)
    return {"_id": line_id(entry.run_id, entry.position), **head, "body": body}


def read(line: Mapping[str, Any]) -> JournalEntry:
    return JournalEntry.model_validate({**{name: line[name] for name in _HEAD}, **json.loads(line["body"])})


def is_large(line: Mapping[str, Any]) -> bool:
    body = line["body"]
    return len(body) > INLINE_BYTES // _BYTES_A_CHARACTER and len(body.encode()) > INLINE_BYTES


def is_surely_large(entry: JournalEntry) -> bool:
    """Known without writing it: most large values are texts, or have one."""
    return entry.result is not None and len(entry.result.text) > INLINE_BYTES


def large_parts(entry: JournalEntry) -> dict[str, bytes]:
    """By name, as JSON: a step's value, its text and each variable. Texts that are the same are written once."""
    found: dict[str, Any] = {"value": entry.result.value, "text": entry.result.text} if entry.result else {}
    found |= {f"{_VARIABLE}{name}": value for name, value in entry.variables.items()}
    texts: dict[str, bytes] = {}
    bodies = {}
    for name, part in found.items():
        body = texts.get(part) if isinstance(part, str) else None
        bodies[name] = body if body is not None else to_json(part, inf_nan_mode="null")
        if isinstance(part, str):
            texts[part] = bodies[name]
    return {name: body for name, body in bodies.items() if len(body) > _PART_BYTES}


def outlined(entry: JournalEntry, parts: Mapping[str, ValueReference]) -> JournalEntry:
    """Without these parts; in the value's place stands its reference."""
    bare: dict[str, Any] = {"text": ""} if "text" in parts else {}
    if "value" in parts:
        bare["value"] = parts["value"].written()
    result = entry.result.model_copy(update=bare) if entry.result else None
    variables = {name: value for name, value in entry.variables.items() if f"{_VARIABLE}{name}" not in parts}
    return entry.model_copy(update={"result": result, "variables": variables})


def with_parts(entry: JournalEntry, parts: Mapping[str, Any]) -> JournalEntry:
    """The entry that was outlined."""
    own = {name: part for name, part in parts.items() if not name.startswith(_VARIABLE)}
    set_here = {name.removeprefix(_VARIABLE): part for name, part in parts.items() if name.startswith(_VARIABLE)}
    result = entry.result.model_copy(update=own) if entry.result else None
    return entry.model_copy(update={"result": result, "variables": {**entry.variables, **set_here}})
