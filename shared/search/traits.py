"""What distinguishes a candidate from the seed, as weighted traits: candidates that share one tell about each other."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_WORD = re.compile(r"\w+|[^\w\s]")
_HALF = math.sqrt(0.5)
_MOST_WORDS = 400
"""Words of one leaf that are looked at."""
Traits = Mapping[str, float]
Leaves = frozenset[tuple[str, str]]


def leaves_of(document: Mapping[str, Any]) -> Leaves:
    """(path, value as text) of every leaf; each paragraph of a long text is one. Steps are known by their names, so that an
    inserted step leaves the others alone."""
    return frozenset(_leaves("", document))


def traits_of(document: Mapping[str, Any], seed: Leaves) -> dict[str, float]:
    """Trait -> weight. Leaves that the seed (`leaves_of` it) does not have, and, marked, those that it lost.

    A changed text of several words is half a trait of its own and half the words that it gained and lost, whose squared weights
    add up to 1/2: so a longer version of a text is believed to be like the shorter one, and no rewriting counts as many changes.
    A word of several paragraphs weighs what it weighs in the shortest of them."""
    ours = leaves_of(document)
    gained, lost = ours - seed, seed - ours
    before: dict[str, list[str]] = {}
    for path, value in lost:
        before.setdefault(path, []).append(value)
    traits: dict[str, float] = {}
    for path, value in sorted(gained):
        words = _changed_words(value, " ".join(sorted(before.get(path, ()))))
        traits[f"{path}={value}"] = _HALF if words else 1.0
        share = _HALF / math.sqrt(len(words)) if words else 0.0
        for word in words:
            traits[f"{path}~{word}"] = max(share, traits.get(f"{path}~{word}", 0.0))
    replaced = {path for path, _ in gained}
    traits.update({f"-{path}={value}": 1.0 for path, value in lost if path not in replaced})
    return traits


def _changed_words(value: str, former: str) -> list[str]:
    """Words gained (`+`) and lost (`-`); none for a text of one word."""
    ours, theirs = set(_WORD.findall(value)[:_MOST_WORDS]), set(_WORD.findall(former)[:_MOST_WORDS])
    if len(ours) < 2:
        return []
    return [*(f"+{word}" for word in sorted(ours - theirs)), *(f"-{word}" for word in sorted(theirs - ours))]


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
