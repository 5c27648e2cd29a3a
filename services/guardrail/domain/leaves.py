"""Documents as leaves by path, so that two of them can be compared without anything slipping through.

Two values have the same leaves only if they are the same JSON: paths are tuples of marked parts, so that no key can be mistaken
for a path, and leaves are JSON texts, so that `true` is not 1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from services.guardrail.domain.hidden_text import escaped, visible

SHOWN_CHARACTERS = 80
_BEFORE_DIFFERENCE = 24


class Part(NamedTuple):
    """`kind`: `key` of a map, `at` an index of a list, `step` by its name, `order` of the steps of a list."""

    kind: str
    name: str


Path = tuple[Part, ...]
ORDER = Part("order", "")


def leaves(value: Any, path: Path = ()) -> dict[Path, str]:
    """JSON texts by path. Lists of steps are keyed by name, so that an insertion moves nothing else."""
    if isinstance(value, Mapping) and value:
        members = [((*path, Part("key", str(key))), each) for key, each in value.items()]
    elif isinstance(value, list | tuple) and value:
        members = _members(value, path)
    else:
        return {path: json.dumps(value, ensure_ascii=False, sort_keys=True)}
    return {leaf: text for inner, each in members for leaf, text in leaves(each, inner).items()}


def line(path: Path, old: str | None, new: str | None) -> str:
    """`+ path: new`, `- path: old` or `~ path: old -> new`, cut to where they differ."""
    if old is None:
        return f"+ {written(path)}: {_cut(visible(new or ''))}"
    if new is None:
        return f"- {written(path)}: {_cut(visible(old))}"
    before, after = _told_apart(old, new)
    start = max(0, _first_difference(before, after) - _BEFORE_DIFFERENCE)
    return f"~ {written(path)}: {_cut(before, start)} -> {_cut(after, start)}"


def written(path: Path) -> str:
    """As documents are spoken of: `steps.classify.prompt`, `prompts[0]`; odd keys in quotes."""
    text = ""
    for part in path:
        if part.kind == "at":
            text += f"[{part.name}]"
            continue
        name = "order" if part == ORDER else part.name
        plain = name.isascii() and name.replace("_", "a").replace("-", "a").isalnum()
        text += ("." if text else "") + (name if plain else visible(json.dumps(name, ensure_ascii=False)))
    return text


def _members(value: Any, path: Path) -> list[tuple[Path, Any]]:
    names = [each.get("name") if isinstance(each, Mapping) else None for each in value]
    is_steps = bool(path) and path[-1] == Part("key", "steps") and all(isinstance(name, str) for name in names)
    if not is_steps or len(set(names)) < len(names):
        return [((*path, Part("at", str(index))), each) for index, each in enumerate(value)]
    steps = [((*path, Part("step", str(name))), each) for name, each in zip(names, value, strict=True)]
    return [*steps, ((*path, ORDER), " ".join(map(str, names)))]


def _told_apart(old: str, new: str) -> tuple[str, str]:
    """Both made visible; where they look the same then, every character outside of ASCII is written as its number."""
    before, after = visible(old), visible(new)
    if before.isascii() != after.isascii():
        return escaped(before), escaped(after)
    return before, after


def _first_difference(one: str, other: str) -> int:
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _cut(text: str, start: int = 0) -> str:
    head = "…" if start else ""
    rest = text[start:]
    return f"{head}{rest}" if len(rest) <= SHOWN_CHARACTERS else f"{head}{rest[: SHOWN_CHARACTERS - 1]}…"
