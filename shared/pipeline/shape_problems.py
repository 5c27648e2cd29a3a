"""Problems of shape: what the models refuse, at its place in the source, with what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared.errors import Problem
from shared.pipeline.places import ROOT_KEY, Places
from shared.pipeline.plain_values import Path
from shared.pipeline.wording import worded

_WRONG_KINDS = frozenset(
    ("string_type", "dict_type", "model_type", "model_attributes_type", "tuple_type", "list_type", "int_type", "bool_type")
)
"""Said by a union for each of its members that does not fit; beside a fault further inside, they say nothing."""
_STEP = "write `- name: ...` and below it `type: ...`"
_INSTEAD: Mapping[str, str] = {
    "inputs": "write `inputs: {ticket: string}`",
    "outputs": 'write `outputs: {label: "{{ steps.classify.result }}"}`',
    "retry": "write `retry: {max_attempts: 3}`",
    "limits": "write `limits: {seconds: 60, calls: 10}`",
    "defaults": "write `defaults: {timeout_seconds: 60}`",
    "steps": "write each step as `- name: ...` with `type: ...` below it",
    "fallback": "write the step that runs instead: `{type: ..., prompt: ...}`",
    "config": "write `config:` with the options below it",
    "after": "write `after: [name, ...]`",
}


def shape_problems(error: ValidationError, place: Places) -> list[Problem]:
    """One problem a place, by line."""
    entries = [(place.known_path(each["loc"]), each) for each in error.errors(include_url=False)]
    paths = {path for path, _ in entries}
    found: dict[Path, Problem] = {}
    for path, each in entries:
        if _says_nothing(path, each, paths, place):
            continue
        reason, suggestion = _worded(each, path, place)
        present = found.get(path)
        if present is None:
            found[path] = place.problem(path, reason, suggestion)
        elif reason not in present.reason:
            found[path] = present.model_copy(update={"reason": f"{present.reason}, or {reason}"})
    return sorted(found.values(), key=lambda problem: problem.line)


def _says_nothing(path: Path, error: Any, paths: set[Path], place: Places) -> bool:
    if error["type"] == "too_short" and error.get("input"):
        return True  # pydantic does not count the items that it has just found wrong
    if _stray(path, place):
        return True
    deeper = any(len(other) > len(path) and other[: len(path)] == path for other in paths)
    return deeper and error["type"] in _WRONG_KINDS


def _stray(path: Path, place: Places) -> bool:
    """A part of a step that is told at the step itself (see `_misplaced_name`), or of a document that is not at the root."""
    if _misplaced_name(path[:-1], place):
        return path[-1] != "name"
    return len(path) == 1 and _beside_root(place) and path[0] in ("name", "steps")


def _beside_root(place: Places) -> bool:
    return isinstance(place.root, Mapping) and isinstance(place.root.get(ROOT_KEY), Mapping)


def _misplaced_name(path: Path, place: Places) -> str:
    """`classify` of a step written as `- classify: {type: ...}`."""
    step = place.at(path)
    if path[-2:-1] != ("steps",) or not isinstance(step, Mapping) or len(step) != 1:
        return ""
    ((name, body),) = step.items()
    return str(name) if isinstance(body, Mapping) and "type" in body else ""


def _worded(error: Any, path: Path, place: Places) -> tuple[str, str]:
    reason, suggestion = worded(error)
    key = str(path[-1]) if path else ""
    if error["type"] == "missing" or reason == "Field required":
        return _missing(path, key, place)
    if key == ROOT_KEY and _beside_root(place):
        others = ", ".join(f"`{name}`" for name in place.root if name != ROOT_KEY)
        return f"`{ROOT_KEY}` holds the document, but {others} stands beside it", "move everything below `workflow`, or remove it"
    if len(path) == 1 and _beside_root(place):
        return f"`{key}` stands beside `{ROOT_KEY}`", f"move it below `{ROOT_KEY}`, or remove it"
    if not suggestion and error["type"] in _WRONG_KINDS:
        suggestion = _STEP if isinstance(path[-1], int) and path[-2:-1] == ("steps",) else _INSTEAD.get(key, "")
    return reason, suggestion


def _missing(path: Path, key: str, place: Places) -> tuple[str, str]:
    name = _misplaced_name(path[:-1], place)
    if name:
        return "`name` and `type` are missing", f"write `- name: {name}` and its keys below it, not inside `{name}:`"
    return f"`{key}` is missing", "add it"
