"""What a child has other than its parent, leaf by leaf: the diff that a lineage shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.search.traits import leaves_of

MOST_CHANGES = 12
_LONGEST_VALUE = 160


def changes(parent: Mapping[str, Any], child: Mapping[str, Any]) -> list[str]:
    """Lines `path: - old` and `path: + new` in the order of paths, long values cut; the last line counts what did not fit."""
    old, new = leaves_of(parent), leaves_of(child)
    lost, gained = [(path, "-", value) for path, value in old - new], [(path, "+", value) for path, value in new - old]
    marked = sorted(lost + gained, key=_order)
    lines = [f"{path.removeprefix('.')}: {mark} {_cut(value)}" for path, mark, value in marked]
    left_out = len(lines) - MOST_CHANGES
    return lines if left_out <= 0 else [*lines[:MOST_CHANGES], f"... {left_out} more"]


def _order(change: tuple[str, str, str]) -> tuple[str, bool, str]:
    path, mark, value = change
    return path, mark == "+", value


def _cut(value: str) -> str:
    flat = " ".join(value.split())
    return flat if len(flat) <= _LONGEST_VALUE else f"{flat[:_LONGEST_VALUE]}..."
