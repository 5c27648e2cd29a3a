"""Values of options as people type them: text or @file, JSON, key=value."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from evoline.client.datasets import read_cases
from shared.errors import InvalidInputError, Problem
from shared.events.values import Case, GraderSpec

GRADERS = get_args(GraderSpec.model_fields["kind"].annotation)


def read_text(value: str, *, option: str) -> str:
    """`@FILE` is the file's text, `-` and `@-` standard input, anything else itself. Raises InvalidInputError."""
    if value in {"-", "@-"}:
        return sys.stdin.read()
    if not value.startswith("@"):
        return value
    path = Path(value[1:])
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(Problem(file=str(path), path=option, reason=f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(Problem(file=str(path), path=option, reason="is not UTF-8 text")) from error


def read_inputs(values: Sequence[str]) -> dict[str, Any]:
    """Each value is a JSON object, `@FILE` with one, `key=text` or `key:=JSON`; later ones win. Raises InvalidInputError."""
    inputs: dict[str, Any] = {}
    for value in values:
        inputs |= _inputs_of(value)
    return inputs


def _inputs_of(value: str) -> dict[str, Any]:
    if value.startswith(("{", "@", "-")):
        found = parse_json(read_text(value, option="--input"), option="--input")
        if not isinstance(found, dict):
            raise InvalidInputError(Problem(path="--input", reason="is not a JSON object", suggestion='--input {"ticket": "..."}'))
        return found
    key, separator, text = value.partition("=")
    if not separator or not key.rstrip(":"):
        suggestion = '--input key=text, --input key:=JSON, --input {"key": ...} or --input @FILE'
        raise InvalidInputError(Problem(path="--input", reason=f"{value!r} is none of the known forms", suggestion=suggestion))
    if key.endswith(":"):
        return {key[:-1]: parse_json(text, option=f"--input {key[:-1]}")}
    return {key: text}


def parse_json(text: str, *, option: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(Problem(path=option, reason=f"is not JSON: {error}")) from error


def read_grader(value: str | None) -> GraderSpec | None:
    """`label`, or with options `numeric:{"tolerance": 0.01}`. Raises InvalidInputError."""
    if value is None:
        return None
    kind, _, options = value.partition(":")
    if kind not in GRADERS:
        suggestion = f"one of {', '.join(GRADERS)}"
        raise InvalidInputError(Problem(path="--grader", reason=f"{kind!r} is no grader", suggestion=suggestion))
    return GraderSpec.model_validate({"kind": kind, "options": parse_json(options, option="--grader") if options else {}})


def read_examples(path: Path | None) -> tuple[Case, ...]:
    return read_cases(path) if path else ()
