"""Values against JSON Schemas that others wrote: patterns in linear time (RE2), references counted, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import re2
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from shared.pipeline.plain_values import identity

MAX_REFERENCES = 20_000
"""Followed while one value is validated: schemas that refer to themselves can multiply without end."""
_REFERENCES = ("$ref", "$dynamicRef")
_followed: ContextVar[list[int]] = ContextVar("followed")


def violations(value: Any, schema: Mapping[str, Any]) -> list[ValidationError]:
    """What does not fit, by its place; empty where everything does. A schema that cannot be applied fits nothing."""
    token = _followed.set([0])
    try:
        errors = _Validator(dict(schema), registry=Registry()).iter_errors(value)
        return sorted(errors, key=lambda error: error.json_path)
    except (_TooManyError, RecursionError):
        return [ValidationError("the schema refers to itself without end")]
    except (Unresolvable, re2.error) as error:
        return [ValidationError(f"the schema cannot be applied: {error}"[:300])]
    finally:
        _followed.reset(token)


def pattern_problem(pattern: str) -> str:
    """What is wrong with a regular expression; empty where it can be matched."""
    try:
        _compiled(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return ""


class _TooManyError(Exception):
    pass


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 * 1024 * 1024
    return re2.compile(pattern, options)


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _compiled(pattern).search(instance):
        yield ValidationError(f"{instance[:200]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, Mapping):
        return
    for pattern, schema in patterns.items():
        for name, member in instance.items():
            if _compiled(pattern).search(name):
                yield from validator.descend(member, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if not isinstance(instance, Mapping):
        return
    patterns = [_compiled(pattern) for pattern in schema.get("patternProperties", {})]
    known = schema.get("properties", {})
    more = [name for name in instance if name not in known and not any(each.search(name) for each in patterns)]
    if allowed is False and more:
        yield ValidationError(f"additional properties are not allowed: {', '.join(map(repr, more[:5]))}")
    elif isinstance(allowed, Mapping):
        for name in more:
            yield from validator.descend(instance[name], allowed, path=name)


def _unique_items(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    if wanted is True and isinstance(instance, list) and len({identity(each) for each in instance}) < len(instance):
        yield ValidationError("the list has equal members")


def _counted(keyword: str) -> Any:
    follow = Draft202012Validator.VALIDATORS[keyword]

    def counted(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        followed = _followed.get()
        followed[0] += 1
        if followed[0] > MAX_REFERENCES:
            raise _TooManyError
        yield from follow(validator, reference, instance, schema) or ()

    return counted


_Validator = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
        **{keyword: _counted(keyword) for keyword in _REFERENCES},
    },
)
