"""Cases and labels are whatever `evaluate` understands: objects, arrays, maps with other keys than texts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evoline import Outcome, optimize
from shared.errors import InvalidInputError
from tests.fakes.planted_task import SEED

Make = Callable[[int], Any]


@dataclass(frozen=True)
class Question:
    text: str
    tags: frozenset[str] = frozenset(("amber", "birch", "cedar"))
    expected: int = 0


class Opaque:
    """Tells only where it lies."""


def search(make: Make, first_sealed: int = 100, **changed: Any) -> Outcome:
    train, dev, sealed = ([make(first + n) for n in range(20)] for first in (50, 0, first_sealed))
    return optimize(SEED, lambda candidate, case: 0.5, train, dev, sealed, 88, **changed)


def circle(n: int) -> Any:
    case: dict[str, Any] = {"n": n}
    return case | {"self": [case.setdefault("self", case)]}


MAKES: dict[str, Make] = {
    "labels that are arrays": lambda n: {"input": n, "expected": np.array([n, 2])},
    "labels whose keys have no order": lambda n: {"input": n, "expected": {1: n, "b": 2}},
    "inputs with other keys than texts": lambda n: {"input": {1: f"question {n}"}, "expected": n},
    "arrays": lambda n: np.array([n, 1]),
    "objects": lambda n: Question(str(n), expected=n % 3),
    "bytes": lambda n: str(n).encode(),
    "instructions without input": lambda n: {"instruction": str(n), "input": "", "output": "x"},
}


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_cases_may_be_of_any_kind_and_repeats_among_them_are_found(make: Make) -> None:
    assert search(make).evidence.candidates > 1
    with pytest.raises(InvalidInputError, match="20 cases stand twice"):
        search(make, first_sealed=0)


@pytest.mark.parametrize("make", [circle, lambda n: Opaque()], ids=["circles", "opaque"])
def test_what_has_no_text_is_told_not_to_have_been_compared(make: Make) -> None:
    assert "60 cases cannot be told apart" in search(make).evidence.reasons[0]


def test_labels_that_are_all_alike_are_refused_whatever_they_are() -> None:
    with pytest.raises(InvalidInputError, match="all dev cases have the same label"):
        search(lambda n: {"input": n, "expected": np.array([1, 2])})


def test_a_journal_of_other_objects_is_refused(tmp_path: Path) -> None:
    search(MAKES["objects"], journal=tmp_path / "journal")
    with pytest.raises(InvalidInputError, match="belongs to another"):
        search(lambda n: Question(f"other {n}", expected=n % 3), journal=tmp_path / "journal")


def test_objects_are_the_same_in_every_process(tmp_path: Path) -> None:
    """Sets and keys have another order in each."""
    code = (
        "from tests.unit.optimization.test_cases_of_any_kind import MAKES, search\n"
        f"search(MAKES['objects'], journal={str(tmp_path / 'journal')!r})"
    )
    for hashed in ("1", "2"):
        subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONHASHSEED": hashed, "PYTHONPATH": ":".join(sys.path)})
