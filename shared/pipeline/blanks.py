"""Blanks of templates: `[[ name ]]` is filled when a template becomes a pipeline, `{{ name }}` when the pipeline runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import InvalidInputError, Problem

BLANK = re.compile(r"\[\[\s*([a-z][a-z0-9_]*)\s*\]\]")


def fill(value: Any, blanks: Mapping[str, Any]) -> Any:
    """Raises `InvalidInputError` on a blank without a value."""
    if isinstance(value, str):
        return _fill_text(value, blanks)
    if isinstance(value, Mapping):
        if list(value) == ["title"] and BLANK.fullmatch(str(value["title"]).strip()):
            return _fill_text(value["title"], blanks)
        return {key: fill(member, blanks) for key, member in value.items()}
    if isinstance(value, Sequence):
        return [filled for member in value for filled in _fill_member(member, blanks)]
    return value


def _fill_member(member: Any, blanks: Mapping[str, Any]) -> list[Any]:
    filled = fill(member, blanks)
    whole = isinstance(member, str) and BLANK.fullmatch(member.strip())
    return filled if whole and isinstance(filled, list) else [filled]


def _fill_text(text: str, blanks: Mapping[str, Any]) -> Any:
    whole = BLANK.fullmatch(text.strip())
    if whole:
        return _blank(whole[1], blanks)
    return BLANK.sub(lambda match: str(_blank(match[1], blanks)), text)


def _blank(name: str, blanks: Mapping[str, Any]) -> Any:
    if name not in blanks:
        raise InvalidInputError(Problem(path=f"[[ {name} ]]", reason="this task has no value for the blank"))
    return blanks[name]
