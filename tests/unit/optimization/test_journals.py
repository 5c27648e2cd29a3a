"""Journals: of other choices, on full disks, in places that keep nothing."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evoline import Outcome, optimize
from shared.errors import InvalidInputError
from shared.search.strategies import Climb
from tests.fakes.planted_task import SEED, SPLITS, Evaluator, listing

BUDGET = 200


def search(journal: Path, evaluate: Any = None, **changed: Any) -> Outcome:
    return optimize(SEED, evaluate or Evaluator(), **{**SPLITS, "budget": BUDGET, "journal": journal, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"operators": ("frame_text",)},
        {"strategy": Climb(minibatch=4)},
        {"alpha": 0.2},
        {"weights": {"cost": 0.1}},
        {"proposer": listing},
    ],
    ids=["operators", "strategy", "alpha", "weights", "proposer"],
)
def test_another_choice_is_another_search_and_looks_at_no_sealed_case(changed: dict[str, Any], tmp_path: Path) -> None:
    """Else one could choose again and again by what the sealed cases said."""
    search(tmp_path / "journal")
    evaluate = Evaluator()
    with pytest.raises(InvalidInputError, match="belongs to another seed, data, budget or seed number, or to other choices"):
        search(tmp_path / "journal", evaluate, **changed)
    assert evaluate.asked.total() == 0


def test_a_place_that_keeps_nothing_is_refused() -> None:
    for place in ("/dev/null", "/dev/full"):
        with pytest.raises(InvalidInputError, match="is no file that could keep anything"):
            search(Path(place))


def test_on_a_full_disk_the_file_is_named_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    code = (
        "from tests.unit.optimization.test_journals import filled_up, search\nfrom pathlib import Path\n"
        f"filled_up(lambda: search(Path({str(journal)!r})))"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    kept = journal.read_bytes().count(b"\n") - 1
    evaluate = Evaluator()
    outcome = search(journal, evaluate)
    assert kept > 0 and evaluate.asked.total() == sum(outcome.evidence.spent.values()) - kept
    assert outcome.evidence.archive_hash == search(tmp_path / "other").evidence.archive_hash


def filled_up(call: Callable[[], Outcome]) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    with pytest.raises(InvalidInputError, match=r"journal cannot be written: .*make room"):
        call()
