"""A run's inputs, held against what its document declares."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from jsonschema import Draft202012Validator

from shared.errors import InvalidInputError, Problem
from shared.pipeline.document import Document
from shared.pipeline.plain_values import dotted, plain_problems

MAX_PROBLEMS = 20


def required_inputs(document: Document) -> tuple[str, ...]:
    """Names that a run must give: those without a default."""
    return tuple(name for name, schema in document.inputs.items() if "default" not in schema)


def bind_inputs(document: Document, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all declared inputs, defaults filled in; what the document does not declare is left out.

    Raises `InvalidInputError` with every missing or unfit input."""
    problems = [problem.model_copy(update={"path": f"inputs.{problem.path}"}) for problem in plain_problems(given)]
    if problems:
        raise InvalidInputError(problems)
    bound: dict[str, Any] = {}
    for name, schema in document.inputs.items():
        if name in given:
            bound[name] = given[name]
            problems.extend(_unfit(name, given[name], schema))
        elif "default" in schema:
            bound[name] = schema["default"]
        else:
            problems.append(_missing(name, document, given))
    if problems:
        raise InvalidInputError(problems[:MAX_PROBLEMS])
    return bound


def _missing(name: str, document: Document, given: Mapping[str, Any]) -> Problem:
    strangers = [other for other in given if other not in document.inputs]
    close = get_close_matches(name, strangers, 1)
    suggestion = f"`{close[0]}` was given: is that it?" if close else "give it with the run, or a `default` in the document"
    return Problem(path=f"inputs.{name}", reason=f"input `{name}` is missing", suggestion=suggestion)


def _unfit(name: str, value: Any, schema: Mapping[str, Any]) -> list[Problem]:
    errors = Draft202012Validator(schema).iter_errors(value)
    return [
        Problem(path=dotted(("inputs", name, *error.absolute_path)), reason=error.message[:300])
        for error, _ in zip(errors, range(MAX_PROBLEMS), strict=False)
    ]
