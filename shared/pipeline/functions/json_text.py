"""`parse_json`, and how JSON is read out of a model's text."""

from __future__ import annotations

import json
import math
import re
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from shared.errors import InvalidInputError
from shared.pipeline.functions.spec import FunctionSpec, parameters
from shared.pipeline.schema_validation import violations

MAX_CHARACTERS = 2_000_000
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.DOTALL)
_OPENING = re.compile(r"[\[{]")
_MAX_STARTS = 200
_MAX_READ = 2 * MAX_CHARACTERS
"""Characters that are read again and again from one opening bracket after the other."""


def read_json(text: str) -> tuple[Any, tuple[str, ...]]:
    """The JSON value in a text, and warnings. Takes the whole text, else a fenced block, else the first object or list in it.

    Raises `ValueError`: no JSON, NaN or infinity, too deep, too long."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"longer than {MAX_CHARACTERS} characters")
    try:
        return _strict(text), ()
    except ValueError as whole:
        for block in _FENCED.findall(text):
            try:
                return _strict(block), ("the JSON stood in a fenced block",)
            except ValueError:
                continue
        return _first_value(text, whole), ("there was text around the JSON",)


def _first_value(text: str, whole: ValueError) -> Any:
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
    read = 0
    for opening in islice(_OPENING.finditer(text), _MAX_STARTS):
        try:
            return decoder.raw_decode(text, opening.start())[0]
        except json.JSONDecodeError as error:
            read += error.pos - opening.start()
        except (ValueError, RecursionError):
            continue
        if read > _MAX_READ:
            break
    raise whole


def _strict(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def parse_json(text: str, schema: dict[str, Any] | None = None) -> Any:
    try:
        value, _ = read_json(text)
    except ValueError as error:
        raise InvalidInputError(f"parse_json: {error}") from error
    if schema is not None:
        _check(value, schema)
    return value


def _check(value: Any, schema: dict[str, Any]) -> None:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InvalidInputError(f"parse_json: not a JSON Schema: {error.message}") from error
    errors = violations(value, schema)
    if errors:
        reasons = "; ".join(f"{error.json_path}: {error.message[:200]}" for error in errors[:8])
        raise InvalidInputError(f"parse_json: the value does not fit the schema: {reasons}")


PARSE_JSON = FunctionSpec(
    name="parse_json",
    description="Reads the JSON value in a text: the whole text, a fenced block, or the first object or list in it.",
    parameters=parameters(
        {"text": {"type": "string", "maxLength": MAX_CHARACTERS}},
        {"schema": {"type": "object", "description": "JSON Schema that the value must fit."}},
    ),
    cost_class="free",
    pure=parse_json,
)
