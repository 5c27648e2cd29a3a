"""What distinguishes a candidate from the seed, as a set of traits: candidates that share one tell about each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PARAGRAPH = re.compile(r"\n[ \t]*\n")
Traits = frozenset[str]


def leaves_of(document: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """(path, value as text) of every leaf; each paragraph of a long text is one. Steps are known by their names, so that an
    inserted step leaves the others alone."""
    return frozenset(_leaves("", document))


def traits_of(document: Mapping[str, Any], seed: frozenset[tuple[str, str]]) -> Traits:
    """Leaves that the seed (`leaves_of` it) does not have, and, marked, those that it lost without another value in their place."""
    ours = leaves_of(document)
    gained = ours - seed
    replaced = {path for path, _ in gained}
    lost = (f"-{path}={value}" for path, value in seed - ours if path not in replaced)
    return frozenset((*(f"{path}={value}" for path, value in gained), *lost))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if "\n" in value and _PARAGRAPH.search(value):
            yield from ((f"{path}[]", paragraph.strip()) for paragraph in _PARAGRAPH.split(value))
        else:
            yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(f"{path}.{key}", each)
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) and "name" in each for each in value):
        yield f"{path}.order", " ".join(str(each["name"]) for each in value)
        for each in value:
            yield from _leaves(f"{path}.{each['name']}", each)
    else:
        yield path, json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
