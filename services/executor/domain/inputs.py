"""Inputs of a run against the document's declarations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from shared.errors import InvalidInputError, Problem
from shared.pipeline.document import Document
from shared.pipeline.schema_validation import violations

MAX_REASON = 300


def checked_inputs(document: Document, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with defaults filled in. Inputs that the document does not declare pass unchecked: nothing reads them.

    Raises `InvalidInputError` with every problem."""
    given = dict(inputs)
    problems: list[Problem] = []
    unread = ", ".join(f"`{name}`" for name in given if name not in document.inputs)
    for name, schema in document.inputs.items():
        if name not in given and "default" in schema:
            given[name] = copy.deepcopy(schema["default"])
        if name not in given:
            problems.append(Problem(path=f"inputs.{name}", reason="is missing", suggestion=f"give `{name}`{_instead_of(unread)}"))
            continue
        for error in violations(given[name], schema):
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
            problems.append(Problem(path=f"inputs.{name}{place}", reason=error.message[:MAX_REASON]))
    if problems:
        raise InvalidInputError(problems)
    return given


def _instead_of(unread: str) -> str:
    return f"; nothing reads {unread}" if unread else ""
