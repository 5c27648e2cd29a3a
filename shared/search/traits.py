"""What distinguishes a candidate from the seed, as a set of traits: candidates that share a trait tell about each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PARAGRAPH = re.compile(r"\n[ \t]*\n")
Traits = frozenset[str]


def traits_of(document: Mapping[str, Any], seed: Mapping[str, Any]) -> Traits:
    """Leaves (paragraphs of long texts each by itself) that the seed does not have, and, marked, those that it lost.

    Steps are known by their names, so that an inserted step leaves the others' traits alone."""
    ours, theirs = set(_leaves("", document)), set(_leaves("", seed))
    gained = {f"{path}={value}" for path, value in ours - theirs}
    replaced = {path for path, _ in ours - theirs}
    return frozenset(gained | {f"-{path}={value}" for path, value in theirs - ours if path not in replaced})


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key in value:
            yield from _leaves(f"{path}.{key}", value[key])
    elif isinstance(value, list) and all(isinstance(each, Mapping) and "name" in each for each in value):
        yield f"{path}.order", " ".join(str(each["name"]) for each in value)
        for each in value:
            yield from _leaves(f"{path}.{each['name']}", each)
    elif isinstance(value, str) and _PARAGRAPH.search(value):
        for paragraph in _PARAGRAPH.split(value):
            yield f"{path}[]", paragraph.strip()
    else:
        yield path, json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
