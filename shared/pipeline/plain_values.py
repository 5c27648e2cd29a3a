"""Plain JSON-able values: what documents, templates and messages are made of, and what keeps a value from being one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import Problem

MAX_DEPTH = 48
MAX_VALUES = 50_000
MAX_INTEGER = 2**63 - 1

Path = tuple[str | int, ...]


def plain_problems(value: Any, file: str = "") -> list[Problem]:
    """What keeps a value from being plain JSON: keys that are no text, NaN, foreign objects, depth, size."""
    problems: list[Problem] = []
    pending: list[tuple[Path, Any]] = [((), value)]
    seen = 0
    while pending and len(problems) < 50:
        path, each = pending.pop()
        seen += 1
        if seen > MAX_VALUES or len(path) > MAX_DEPTH:
            reason = f"more than {MAX_VALUES} values" if seen > MAX_VALUES else f"nested deeper than {MAX_DEPTH} levels"
            return [*problems, Problem(file=file, path=dotted(path[:8]), reason=reason)]
        reason = _plain_reason(each)
        if reason:
            problems.append(Problem(file=file, path=dotted(path), reason=reason))
        elif isinstance(each, Mapping):
            pending.extend(((*path, key), member) for key, member in each.items())
        elif isinstance(each, list | tuple):
            pending.extend(((*path, index), member) for index, member in enumerate(each))
    return problems


def _plain_reason(value: Any) -> str:
    if isinstance(value, str):
        return "" if is_unicode(value) else "text that is not valid Unicode"
    if value is None or isinstance(value, bool | list | tuple):
        return ""
    if isinstance(value, int):
        return "" if abs(value) <= MAX_INTEGER else "a whole number beyond 64 bits"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "a number that is not finite"
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str) or not is_unicode(key)]
        return f"a key must be text, not {wrong[0]!r}" if wrong else ""
    return f"a value of type {type(value).__name__} is not allowed"


def is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dotted(path: Sequence[str | int]) -> str:
    """`("steps", 2, "prompt")` -> `steps[2].prompt`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def identity(value: Any) -> str:
    """Equal for equal JSON values: 1 and 1.0 are one number, true is not 1."""
    return json.dumps(_whole(value), sort_keys=True, ensure_ascii=False)


def _whole(value: Any) -> Any:
    """The value with whole numbers written as such, at every depth."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _whole(member) for key, member in value.items()}
    return [_whole(member) for member in value] if isinstance(value, list) else value
