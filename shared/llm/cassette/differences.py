"""Where a request that was not recorded differs from the nearest one that was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

SHOWN = 40
"""Characters of each text around the first difference."""
GONE = object()


def nearest_difference(asked: Any, recorded: Sequence[Any]) -> str:
    """The fewest differences win, then the longest common beginning of the first text that differs."""
    if not recorded:
        return "none of its kind was recorded"
    differences = min((list(_differences(asked, each, "")) for each in recorded), key=_distance)
    told = "; ".join(_told(*each) for each in differences[:3])
    more = f"; and {len(differences) - 3} more" if len(differences) > 3 else ""
    return f"the nearest recorded one differs in {told}{more}"


def _differences(asked: Any, recorded: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(asked, dict) and isinstance(recorded, dict):
        for name in sorted({*asked, *recorded}):
            inner = f"{path}.{name}" if path else name
            yield from _differences(asked.get(name, GONE), recorded.get(name, GONE), inner)
    elif isinstance(asked, list) and isinstance(recorded, list):
        for index in range(max(len(asked), len(recorded))):
            pair = [each[index] if index < len(each) else GONE for each in (asked, recorded)]
            yield from _differences(pair[0], pair[1], f"{path}[{index}]")
    elif asked != recorded:
        yield path, asked, recorded


def _distance(differences: list[tuple[str, Any, Any]]) -> tuple[int, int]:
    _, asked, recorded = differences[0] if differences else ("", "", "")
    return len(differences), -_common(str(asked), str(recorded))


def _common(one: str, other: str) -> int:
    """Characters of the common beginning."""
    return next(
        (index for index, (left, right) in enumerate(zip(one, other, strict=False)) if left != right), min(len(one), len(other))
    )


def _told(path: str, asked: Any, recorded: Any) -> str:
    if not (isinstance(asked, str) and isinstance(recorded, str)):
        return f"`{path}`: {_shown(asked)} instead of {_shown(recorded)}"
    same = _common(asked, recorded)
    begin = max(0, same - SHOWN // 2)
    pieces = [repr(text[begin : begin + SHOWN]) for text in (asked, recorded)]
    return f"`{path}` from character {same + 1}: {pieces[0]} instead of {pieces[1]}"


def _shown(value: Any) -> str:
    return "nothing" if value is GONE else repr(value)[: 2 * SHOWN]
