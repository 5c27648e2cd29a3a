"""Numeric parameters: answer length, temperature, how many similar examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from shared.search.candidates import OperatorContext, Proposal
from shared.search.genome import PROMPTED_TYPES, copied, steps_of

_TEMPERATURES = (0.0, 0.3, 0.7)
_SHORTEST, _LONGEST = 8, 1024
_MOST_NEIGHBOURS = 12

_Edit = tuple[str, Callable[[dict[str, Any]], None]]


class Numbers:
    name: ClassVar[str] = "numbers"
    weight: ClassVar[float] = 0.4

    def apply(self, document: Mapping[str, Any], context: OperatorContext, generator: random.Random) -> Proposal | None:
        options = [(index, edit) for index, step in enumerate(steps_of(document)) for edit in _edits(step)]
        if not options:
            return None
        index, (text, change) = generator.choice(options)
        changed = copied(document)
        change(steps_of(changed)[index])
        return Proposal(changed, self.name, f"{steps_of(document)[index]['name']}: {text}")


def _edits(step: Mapping[str, Any]) -> list[_Edit]:
    edits: list[_Edit] = []
    if step.get("type") in PROMPTED_TYPES:
        edits += [_setting("temperature", value) for value in _TEMPERATURES if value != step.get("temperature")]
        length = step.get("max_tokens", 256)
        sizes = {min(_LONGEST, max(_SHORTEST, round(length * factor))) for factor in (0.5, 1.5, 2)}
        edits += [_setting("max_tokens", size) for size in sorted(sizes - {length})]
    neighbours = step.get("arguments", {}).get("k") if isinstance(step.get("arguments"), Mapping) else None
    if isinstance(neighbours, int):
        edits += [_neighbours(k) for k in (neighbours - 2, neighbours + 2) if 1 <= k <= _MOST_NEIGHBOURS]
    return edits


def _setting(key: str, value: float) -> _Edit:
    return f"{key} {value}", lambda step: step.update({key: value})


def _neighbours(k: int) -> _Edit:
    return f"k {k}", lambda step: step["arguments"].update(k=k)
