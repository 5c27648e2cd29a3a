"""From bytes that anybody may have made to a run's file, or to everything that is wrong with them."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from pydantic import ValidationError

from services.executor.domain.run_file.checks import problems_in
from services.executor.domain.run_file.form import FORMAT, VERSION, RunFile, sealed
from shared.errors import InvalidInputError, Problem

MAX_DEPTH = 200
MAX_NODES = 2_000_000
"""Lists, objects and their members: what takes memory when it is read."""
MAX_PROBLEMS = 50
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")


def read_run_file(body: bytes) -> RunFile:
    """Raises `InvalidInputError` with every problem that can be told at once, each with its place."""
    _check_structure(body)
    value = _parsed(body)
    if not isinstance(value, dict):
        raise InvalidInputError("the file is no JSON object")
    _check_version(value)
    _check_seal(value)
    try:
        file = RunFile.model_validate(value)
    except ValidationError as error:
        raise InvalidInputError(_problems_of(error)) from error
    if problems := problems_in(file):
        raise InvalidInputError(problems[:MAX_PROBLEMS])
    return file


def _check_structure(body: bytes) -> None:
    """Before anything is built of it."""
    structure = _TEXT.sub(b"", body)
    if sum(structure.count(sign) for sign in (b"[", b"{", b",", b":")) > MAX_NODES:
        raise InvalidInputError(f"the file holds more than {MAX_NODES:,} values")
    depth = 0
    for bracket in _BRACKET.finditer(structure):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > MAX_DEPTH:
            raise InvalidInputError(f"the file is nested deeper than {MAX_DEPTH} levels")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"the file is not UTF-8 text: byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise InvalidInputError(Problem(line=error.lineno, reason=f"is not JSON: {error.msg} (column {error.colno})")) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"is not JSON: {error}"[:300]) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise InvalidInputError(Problem(path=twice[:100], reason="stands twice in one object"))
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInputError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise InvalidInputError(f"{text[:50]} is too large a number")
    return number


def _check_version(value: dict[str, Any]) -> None:
    if value.get("format") != FORMAT:
        raise InvalidInputError(Problem(path="format", reason=f"is not {FORMAT!r}", suggestion="give what `evoline export` wrote"))
    if type(version := value.get("version")) is not int or version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        suggestion = "import it with the Evoline that wrote it, or a newer one" if newer else ""
        reason = f"{str(version)[:50]!r} is no version that is read here; {VERSION} is"
        raise InvalidInputError(Problem(path="version", reason=reason, suggestion=suggestion))


def _check_seal(value: dict[str, Any]) -> None:
    try:
        right = sealed(value)["sha256"]
    except UnicodeEncodeError as error:
        raise InvalidInputError("the file holds halves of characters") from error
    if value.get("sha256") != right:
        raise InvalidInputError(Problem(path="sha256", reason="the file was changed or damaged after it was written"))


def _problems_of(error: ValidationError) -> list[Problem]:
    faults = error.errors(include_url=False, include_input=False, include_context=False)[:MAX_PROBLEMS]
    return [Problem(path=_place(fault["loc"]), reason=str(fault["msg"])[:500]) for fault in faults]


def _place(location: tuple[int | str, ...]) -> str:
    """Without the names that pydantic gives to the forms that a value may have."""
    named = [part for part in location[:20] if isinstance(part, int) or "[" not in part]
    parts = [f"[{part}]" if isinstance(part, int) else f".{part[:100]}" for part in named]
    return "".join(parts).lstrip(".")
