"""Data set files: one JSON object a line, `{"id", "input", "expected", "split"?, "tags"?}`; other keys are ignored."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.errors import InvalidInputError, Problem
from shared.events.values import Case

KEYS = frozenset(Case.model_fields)
MOST_PROBLEMS = 100


def read_cases(path: Path) -> tuple[Case, ...]:
    """Every case of the file. Raises InvalidInputError with all bad lines at once, each with its number."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(Problem(file=str(path), reason=f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(Problem(file=str(path), reason=f"is not UTF-8 text (byte {error.start})")) from error
    return parse_cases(text, file=str(path))


def parse_cases(text: str, *, file: str = "") -> tuple[Case, ...]:
    """As `read_cases`, of a text."""
    cases: list[Case] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        found = _parse_line(line)
        if isinstance(found, Case) and found.id in seen:
            found = [
                Problem(path="id", reason=f"{found.id!r} is also the id of line {seen[found.id]}", suggestion="ids are unique")
            ]
        if isinstance(found, Case):
            seen[found.id] = number
            cases.append(found)
        else:
            problems += [problem.model_copy(update={"file": file, "line": number}) for problem in found]
    if not cases and not problems:
        problems.append(
            Problem(file=file, reason="holds no case", suggestion='one JSON object a line: {"id", "input", "expected"}')
        )
    if problems:
        raise InvalidInputError(_at_most(problems, file))
    return tuple(cases)


def dataset_id_of(path: Path, cases: tuple[Case, ...]) -> str:
    """File name and content: other cases are another data set, the same ones the same."""
    content = hashlib.sha256("\n".join(case.model_dump_json() for case in cases).encode()).hexdigest()[:10]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.stem).strip("_.-") or "cases"
    return f"{name[:60]}-{content}"


def _parse_line(line: str) -> Case | list[Problem]:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        return [Problem(reason=f"is not JSON: {error}")]
    if not isinstance(value, dict):
        return [Problem(reason="is not a JSON object", suggestion='{"id": ..., "input": {...}, "expected": ...}')]
    try:
        return Case.model_validate({key: item for key, item in value.items() if key in KEYS})
    except ValidationError as error:
        return [
            Problem(path=".".join(map(str, fault["loc"])), reason=str(fault["msg"]))
            for fault in error.errors(include_url=False, include_input=False, include_context=False)
        ]


def _at_most(problems: list[Problem], file: str) -> list[Problem]:
    if len(problems) <= MOST_PROBLEMS:
        return problems
    more = Problem(file=file, reason=f"and {len(problems) - MOST_PROBLEMS} more")
    return [*problems[:MOST_PROBLEMS], more]
