"""What pydantic finds wrong, in words that an author of YAML understands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.pipeline.suggestions import did_you_mean

Worded = tuple[str, str]
"""(reason, suggestion)"""

_KINDS: Mapping[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a map"}
_NAME = "lower-case letters, digits and _, starting with a letter"


def worded(error: Any) -> Worded:
    """Of one entry of `ValidationError.errors()`; errors of our own keep their words."""
    context: Mapping[str, Any] = error.get("ctx", {})
    if "reason" in context:
        return str(context["reason"]), str(context.get("suggestion", ""))
    word = _WORDS.get(error["type"])
    if word is not None:
        return word(error, context)
    reason = str(error["msg"]).removeprefix("Value error, ")
    return re.sub(r"^Input should be ", "must be ", reason), ""


def kind_of_value(value: Any) -> str:
    return "nothing" if value is None else _KINDS.get(type(value), "this")


def _must_be(what: str) -> Callable[[Any, Mapping[str, Any]], Worded]:
    return lambda error, _: (f"must be {what}, not {kind_of_value(error['input'])}", "")


def _text(error: Any, _: Mapping[str, Any]) -> Worded:
    is_scalar = isinstance(error["input"], bool | int | float)
    return f"must be text, not {kind_of_value(error['input'])}", "put it in quotes" if is_scalar else ""


def _pattern(error: Any, context: Mapping[str, Any]) -> Worded:
    written = str(error["input"])
    suggestion = f"must match `{context['pattern']}`"
    if str(context["pattern"]).startswith("^[a-z][a-z0-9_"):
        better = re.sub(r"[^a-z0-9]+", "_", written.strip().lower()).strip("_")
        fits = re.fullmatch(r"[a-z][a-z0-9_]{0,62}", better) is not None
        suggestion = f"use {_NAME}" + (f", as `{better}`" if fits else "")
    return f"`{written[:80]}` is no valid name here", suggestion


def _one_of(error: Any, context: Mapping[str, Any]) -> Worded:
    known = tuple(re.findall(r"'([^']*)'", str(context["expected"])))
    near = did_you_mean(str(error["input"]), known)
    listed = ", ".join(f"`{name}`" for name in known)
    return f"must be one of {listed}", near if near.startswith("did you mean") else ""


def _operation(error: Any, context: Mapping[str, Any]) -> Worded:
    written = error["input"]
    if "tag" in context:
        known = tuple(re.findall(r"'([^']*)'", str(context["expected_tags"])))
        return f"unknown operation `{context['tag']}`", did_you_mean(str(context["tag"]), known)
    known = OPERATIONS
    if isinstance(written, dict) and len(written) == 1:
        (name,) = written
        return f"unknown operation `{name}`", did_you_mean(str(name), known)
    return "must be an operation", f"write `{{op: ...}}` or `{{filter: ...}}`; known: {', '.join(known)}"


def _too_short(error: Any, context: Mapping[str, Any]) -> Worded:
    least = context["min_length"]
    return ("must not be empty" if least == 1 else f"must have at least {least} items"), ""


def _too_long(error: Any, context: Mapping[str, Any]) -> Worded:
    return f"may have at most {context['max_length']} items, not {context.get('actual_length')}", ""


def _bound(word: str, key: str) -> Callable[[Any, Mapping[str, Any]], Worded]:
    return lambda error, context: (f"must be {word} {_number(context[key])}, not {error['input']}", "")


def _number(value: Any) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else str(value)


OPERATIONS = ("query", "filter", "map", "sort", "group", "join", "aggregate", "limit", "unique")
_WORDS: Mapping[str, Callable[[Any, Mapping[str, Any]], Worded]] = {
    "string_type": _text,
    "dict_type": _must_be("a map"),
    "model_type": _must_be("a map"),
    "model_attributes_type": _must_be("a map"),
    "tuple_type": _must_be("a list"),
    "list_type": _must_be("a list"),
    "bool_type": _must_be("true or false"),
    "bool_parsing": lambda error, _: ("must be true or false", ""),
    "int_type": _must_be("a whole number"),
    "int_parsing": lambda error, _: ("must be a whole number", ""),
    "int_from_float": lambda error, _: (f"must be a whole number, not {error['input']}", ""),
    "float_type": _must_be("a number"),
    "float_parsing": lambda error, _: ("must be a number", ""),
    "string_pattern_mismatch": _pattern,
    "literal_error": _one_of,
    "union_tag_invalid": _operation,
    "union_tag_not_found": _operation,
    "too_short": _too_short,
    "string_too_short": lambda error, _: ("must not be empty", ""),
    "too_long": _too_long,
    "string_too_long": lambda error, context: (f"may have at most {context['max_length']} characters", ""),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
}
