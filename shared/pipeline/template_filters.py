"""Filters and tests that templates may use. Fixed: whatever is not here is an error before the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.tests import TESTS as JINJA_TESTS

from shared.pipeline.template_text import as_text, plain

MAX_CHARACTERS = 4 * 1024 * 1024
"""Longest text that a template may make."""

_FROM_JINJA = (
    "abs",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "items",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "sum",
    "title",
    "trim",
    "truncate",
    "unique",
    "upper",
    "wordcount",
)
_TESTS_FROM_JINJA = (
    "boolean",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "true",
    "undefined",
    "==",
    "!=",
    ">",
    ">=",
    "<",
    "<=",
)


def checked_length(value: Any) -> Any:
    """The value itself, if it is no text or list beyond what a template may make."""
    if isinstance(value, str | list | tuple) and len(value) > MAX_CHARACTERS:
        raise SecurityError(f"a template may not make more than {MAX_CHARACTERS} characters")
    return value


def _join(items: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    members = [item[attribute] if attribute else item for item in items]
    texts = [as_text(member) for member in members]
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_CHARACTERS:
        raise SecurityError(f"a template may not make more than {MAX_CHARACTERS} characters")
    return separator.join(texts)


def _replace(text: Any, old: str, new: str, count: int = -1) -> str:
    source = as_text(text)
    hits = source.count(old) if count < 0 else min(count, source.count(old))
    if len(source) + hits * len(new) > MAX_CHARACTERS:
        raise SecurityError(f"a template may not make more than {MAX_CHARACTERS} characters")
    return source.replace(old, new, count)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(plain(value), ensure_ascii=False, indent=min(indent, 8) if indent else None)


def _integer(value: Any, default: int | None = None) -> int:
    """Whole number of a number or text; without a default, what is none is an error rather than 0."""
    try:
        return int(float(value)) if isinstance(value, str) and "." in value else int(value)
    except (TypeError, ValueError, OverflowError):
        if default is None:
            raise
        return default


def _float(value: Any, default: float | None = None) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        if default is None:
            raise
        return default


def _from_json(text: Any) -> Any:
    return text if isinstance(text, Mapping | list) else json.loads(as_text(text))


FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: JINJA_FILTERS[name] for name in _FROM_JINJA},
    "float": _float,
    "from_json": _from_json,
    "int": _integer,
    "join": _join,
    "json": _json,
    "replace": _replace,
    "string": as_text,
    "tojson": _json,
}
TESTS: Mapping[str, Callable[..., Any]] = {name: JINJA_TESTS[name] for name in _TESTS_FROM_JINJA}  # type: ignore[misc]
