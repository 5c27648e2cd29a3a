"""What `evaluate` tells of its use comes back as front and menu; what it does not tell is said to be unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evoline import optimize
from evoline.optimization.measuring import checked
from shared.errors import InvalidInputError
from shared.search.objectives import Weights
from tests.fakes.planted_task import SEED, SPLITS, Evaluator, listing

PLANTED: dict[str, Any] = dict(SPLITS)


def telling(candidate: Any, case: Any) -> Any:
    score, feedback = Evaluator()(candidate, case)
    return score, feedback, {"tokens": len(candidate["note"]), "seconds": 0.5}


def test_use_that_is_told_makes_a_front_with_units_also_after_a_restart(tmp_path: Path) -> None:
    journal = tmp_path / "search.jsonl"
    arguments: dict[str, Any] = {"budget": 400, "proposer": listing, "journal": journal, **PLANTED}
    outcome = optimize(SEED, telling, **arguments)
    again = optimize(SEED, lambda candidate, case: 1 / 0, **arguments)
    assert outcome.trade_offs.compared == ("quality", "cost", "latency")
    assert outcome.trade_offs == again.trade_offs, "the journal knows the use, too"
    first, last = outcome.trade_offs.front[0], outcome.trade_offs.front[-1]
    costs = [next(one for one in member.objectives if one.name == "cost") for member in (first, last)]
    assert costs[0].value > costs[1].value and costs[0].unit == "tokens a run"
    assert all(member.digest in outcome.archive for member in (*outcome.trade_offs.front, *outcome.trade_offs.menu))


def test_plain_scores_degrade_to_quality_and_say_so() -> None:
    told = optimize(SEED, Evaluator(), **PLANTED, budget=300, proposer=listing).trade_offs
    assert told.compared == ("quality",)
    assert any("cost is not known" in note for note in told.notes) and any("latency is not known" in note for note in told.notes)


@pytest.mark.parametrize(
    "use", [{"token": 3}, {"tokens": -1}, {"tokens": True}, {"seconds": float("nan")}, {"cost_usd": "3"}, 7, None]
)
def test_use_that_is_none_is_a_failed_evaluation_that_says_why(use: Any) -> None:
    measured = checked((1.0, "fine", use))
    assert measured.grade is None and "evaluate gave" in measured.feedback


@pytest.mark.parametrize("weights", [{"robustness": 0.1}, Weights(cost=0.1, robustness=0.1)])
def test_weights_for_objectives_that_nobody_measures_here_are_refused(weights: Any) -> None:
    with pytest.raises(InvalidInputError, match="robustness"):
        optimize(SEED, Evaluator(), **PLANTED, budget=300, weights=weights)
