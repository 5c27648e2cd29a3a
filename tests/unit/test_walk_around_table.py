"""`docs/walk-arounds.md` names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/walk-arounds.md").read_text())


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_attempt_of_the_table_is_a_test() -> None:
    assert [f"{file}::{name}" for file, name in NAMED if name not in functions_of(file)] == []


def test_every_row_names_one_and_no_test_stands_for_two_attempts() -> None:
    rows = [line for line in (ROOT / "docs/walk-arounds.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(NAMED) == len(set(NAMED))
    assert len(rows) >= 25
