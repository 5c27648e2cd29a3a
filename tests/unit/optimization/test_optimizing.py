"""Library mode: finds what is there, claims what is true, spends what it was given, and goes on where it was killed."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from evoline import Outcome, optimize
from evoline.optimization import Progress
from evoline.optimization.task import SMALLEST_BUDGET
from shared.search.strategies import STRATEGIES
from tests.fakes.planted_task import SEED, SPLITS, Evaluator, cases, listing

BUDGET = 500


def search(evaluate: Any = None, number: int = 0, **changed: Any) -> Outcome:
    arguments = {"budget": BUDGET, "proposer": listing, **SPLITS, **changed}
    return optimize(SEED, evaluate or Evaluator(), seed_number=number, **arguments)


@pytest.mark.parametrize("strategy", ["climb", "genetic", "guided"])
def test_a_planted_improvement_is_found_and_certified(strategy: str) -> None:
    outcome = search(strategy=strategy)
    assert outcome.verdict == "certified"
    assert len(set(outcome.best["note"].split())) > 1
    assert outcome.interval[0] > 0 and outcome.interval[0] <= outcome.claim <= outcome.interval[1]
    assert outcome.evidence.best_score is not None and outcome.evidence.best_score.cases == len(SPLITS["sealed"])


def test_where_nothing_helps_few_searches_certify_anything() -> None:
    certified = sum(search(Evaluator(helps=False), number).verdict == "certified" for number in range(40))
    assert certified <= 5  # 5% each: P(more than 5 of 40) is below 2%; the seeds are fixed


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
@pytest.mark.parametrize("budget", [SMALLEST_BUDGET, 157, 400])
def test_no_evaluation_is_over_budget_and_none_is_made_twice(strategy: str, budget: int) -> None:
    evaluate = Evaluator()
    outcome = search(evaluate, budget=budget, strategy=strategy)
    assert evaluate.asked.total() == sum(outcome.evidence.spent.values()) <= budget
    assert set(evaluate.asked.values()) == {1}


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_the_archive_is_the_same_with_one_and_with_four_workers(strategy: str) -> None:
    one, four = (search(strategy=strategy, workers=workers) for workers in (1, 4))
    assert one.evidence.archive_hash == four.evidence.archive_hash
    assert one.best == four.best and one.claim == four.claim


def test_other_seed_numbers_search_elsewhere() -> None:
    assert len({search(number=number).evidence.archive_hash for number in range(3)}) == 3


class Killed(BaseException):
    """Nothing of ours catches it."""


def test_a_search_that_is_stopped_anywhere_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole = search()
    calls = sum(whole.evidence.spent.values())
    generator = random.Random(5)
    for moment in generator.sample(range(1, calls), 25):
        evaluate = Evaluator()

        def until_killed(candidate: Any, case: Any, left: list[int] = [moment], inner: Evaluator = evaluate) -> Any:  # noqa: B006  counts down
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return inner(candidate, case)

        journal = tmp_path / f"{moment}.jsonl"
        with pytest.raises(Killed):
            search(until_killed, journal=journal)
        again = search(evaluate, journal=journal)
        assert again.evidence.archive_hash == whole.evidence.archive_hash
        assert (again.verdict, again.claim, again.best) == (whole.verdict, whole.claim, whole.best)
        assert evaluate.asked.total() == calls and set(evaluate.asked.values()) == {1}


def test_a_line_that_was_cut_is_written_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    whole = search(journal=journal)
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) * 2 // 3])
    evaluate = Evaluator()
    assert search(evaluate, journal=journal).evidence.archive_hash == whole.evidence.archive_hash
    assert 0 < evaluate.asked.total() < sum(whole.evidence.spent.values())
    assert journal.read_bytes() == content


def test_asynchronous_callables_and_a_running_loop_are_fine() -> None:
    evaluate = Evaluator()

    async def slowly(candidate: Any, case: Any) -> Any:
        await asyncio.sleep(0)
        return evaluate(candidate, case)

    async def notebook() -> Outcome:
        return search(slowly, workers=3)

    assert asyncio.run(notebook()).evidence.archive_hash == search().evidence.archive_hash


def test_progress_tells_stages_in_order_and_what_was_spent() -> None:
    told: list[Progress] = []
    outcome = search(on_progress=told.append)
    stages = list(dict.fromkeys(each.stage for each in told))
    assert stages == ["search", "finals", "gate"]
    assert [each.spent for each in told] == sorted(each.spent for each in told)
    assert told[-1].spent == sum(outcome.evidence.spent.values())


def test_what_is_rejected_is_not_shipped_and_claims_nothing() -> None:
    outcome = search(Evaluator(luck=1.0))
    assert outcome.verdict == "rejected" and outcome.best == SEED
    assert (outcome.claim, outcome.interval) == (0.0, (0.0, 0.0))


def test_an_undecided_candidate_says_how_many_cases_would_decide() -> None:
    outcomes = [search(sealed=cases(24, f"s{number}"), number=number, budget=200) for number in range(12)]
    undecided = [outcome for outcome in outcomes if outcome.verdict == "canary" and outcome.claim > 0]
    assert undecided and all(outcome.evidence.more_cases_needed > 0 for outcome in undecided)
