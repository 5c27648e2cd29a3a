"""Filters and tests that templates may use. Fixed: whatever is not here is an error before the run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from jinja2 import Environment
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.filters import make_attrgetter
from jinja2.tests import TESTS as JINJA_TESTS
from jinja2.utils import pass_environment

from shared.pipeline.template_text import as_text, plain
from shared.pipeline.template_work import MAX_CHARACTERS, metered

_MAX_PRECISION = 100

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
    "select",
    "selectattr",
    "sort",
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
    """Cut off while it is made: indentation can multiply a deep value."""
    encoder, parts, length = json.JSONEncoder(ensure_ascii=False, indent=min(indent, 8) if indent else None), [], 0
    for part in encoder.iterencode(plain(value)):
        parts.append(part)
        length += len(part)
        if length > MAX_CHARACTERS:
            raise SecurityError(f"a template may not make more than {MAX_CHARACTERS} characters")
    return "".join(parts)


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
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{number} is not a finite number")
        return number
    except (TypeError, ValueError, OverflowError):
        if default is None:
            raise
        return default


def _from_json(text: Any) -> Any:
    return text if isinstance(text, Mapping | list) else json.loads(as_text(text), parse_constant=_refuse, parse_float=_float)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    if not -_MAX_PRECISION <= precision <= _MAX_PRECISION:
        raise ValueError(f"a precision of {precision}: at most {_MAX_PRECISION} places can be rounded to")
    rounded: float = JINJA_FILTERS["round"](value, precision, method)
    return rounded


@pass_environment
def _sum(environment: Environment, items: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    """Lists are put one after the other in one list, instead of copying what was added so far for each of them."""
    members = items if attribute is None else map(make_attrgetter(environment, attribute), items)
    if isinstance(start, list):
        return [*start, *(each for member in members for each in member)]
    return sum(members, start)


_OWN: Mapping[str, Callable[..., Any]] = {
    "float": _float,
    "from_json": _from_json,
    "int": _integer,
    "join": _join,
    "json": _json,
    "replace": _replace,
    "round": _round,
    "string": as_text,
    "sum": _sum,
    "tojson": _json,
}
_READS: Mapping[str, int] = {
    **dict.fromkeys(("count", "d", "default", "first", "last", "length"), 0),
    **dict.fromkeys(("dictsort", "from_json", "join", "json", "max", "min", "sort", "tojson", "unique"), 4),
}
"""How often filters look at what they are given, where it is not about once."""
_READING_TESTS = frozenset(
    ("in", "eq", "equalto", "==", "ne", "!=", "lt", "lessthan", "<", "le", "<=", "gt", "greaterthan", ">", "ge", ">=")
)
_ALL: Mapping[str, Callable[..., Any]] = {**{name: JINJA_FILTERS[name] for name in _FROM_JINJA}, **_OWN}
FILTERS: Mapping[str, Callable[..., Any]] = {name: metered(each, reads=_READS.get(name, 1)) for name, each in _ALL.items()}
TESTS: Mapping[str, Callable[..., Any]] = {
    name: metered(cast("Callable[..., Any]", JINJA_TESTS[name]), reads=int(name in _READING_TESTS)) for name in _TESTS_FROM_JINJA
}
