"""Labels that stand in the inputs: on such cases an answer is read, not found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.evidence.graders import normalized_text

SHARE = 0.95
"""Of the cases in which a field holds the label, above which it is no coincidence."""
FEWEST = 8
"""Cases below which nothing is claimed."""
_DEEPEST = 4


def leaking_fields(cases: Iterable[tuple[Any, Any]]) -> list[tuple[str, int, int]]:
    """(field, cases in which it is the label, cases) of every input field that gives the label away.

    `cases` are (input, label). Two labels at least: where there is one only, everything equals it. It is the label of the cases
    with rarer labels too: a field that is nearly always 0 gives no label away that is nearly always 0."""
    found: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    agreeing: Counter[tuple[str, str]] = Counter()
    for given, label in cases:
        wanted = _plain(label)
        labels[wanted] += 1
        fields = {path for path, value in _fields(given, "", 0) if _plain(value) == wanted}
        found.update(fields)
        agreeing.update((path, wanted) for path in fields)
    total = labels.total()
    if total < FEWEST or len(labels) < 2:
        return []
    commonest, most = labels.most_common(1)[0]
    return [
        (field, count, total)
        for field, count in sorted(found.items())
        if count >= SHARE * total and count - agreeing[field, commonest] >= SHARE * (total - most)
    ]


def _fields(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if path:
        yield path, value
    if isinstance(value, Mapping) and depth < _DEEPEST:
        for name, each in value.items():
            yield from _fields(each, f"{path}.{name}" if path else str(name), depth + 1)


def _plain(value: Any) -> str:
    try:
        return normalized_text(value) or json.dumps(value, sort_keys=True, default=repr)
    except (TypeError, ValueError):  # keys without an order, or a circle
        return repr(value)
