from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services.evolution.use_cases import forget
from services.evolution.use_cases.evaluations import Assignment, Evaluations
from shared.errors import UnavailableError
from shared.events.changes import GrantScope
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Budget, GraderSpec
from shared.pipeline.loading import load_document
from shared.search.candidates import Candidate
from shared.search.menu import candidate_of
from shared.search.operators import all_operators
from shared.search.strategies import SearchOverError
from tests.fakes.evolution_world import World, finished, granted, labelled_cases, seed_document, small_world

DEV = [f"dev-{index}" for index in range(30, 60)]


def assignment(world: World, evolution_id: str = "evo-1", kind: str = "label") -> Assignment:
    fields = {"purpose": "evolution", "holder": "evolution", "domain": "social", "budget": Budget(runs=100, calls=100)}
    query = GrantScope.model_validate({"scope_id": f"scope-of-{evolution_id}", **fields})
    return Assignment(
        evolution_id=evolution_id,
        dataset_id="tweets3",
        scope=granted(query, world.clock.moment + timedelta(hours=1)),
        grader=GraderSpec.model_validate({"kind": kind}),
        cases={case.id: case for case in labelled_cases()},
        seed=1,
    )


async def no_heartbeat() -> None:
    pass


def evaluations(world: World, limit: int, **changes: Any) -> Evaluations:
    made = Evaluations(assignment(world, **changes), world.evolution, no_heartbeat)
    made.limit = limit
    return made


def two_candidates() -> tuple[Candidate, Candidate]:
    other = seed_document()
    other["steps"][0]["prompt"] = "Another one.\n\n{{ text }}\n"
    return candidate_of(load_document(seed_document())), candidate_of(load_document(other))


async def test_each_candidate_and_case_runs_once_however_often_it_is_asked() -> None:
    world = small_world()
    arena = evaluations(world, 100)
    first, second = two_candidates()
    one = await arena.measure([first], DEV[:6])
    both = await arena.measure([first, second], DEV[:8])
    assert both[0][:6] == one[0]
    assert arena.spent == len(world.runs.started) == 16
    assert len(set(world.runs.started)) == 16


async def test_the_budget_holds_under_concurrency_and_nothing_is_counted_twice() -> None:
    world = small_world()
    arena = evaluations(world, 20)
    first, second = two_candidates()
    asked = [arena.measure([one], DEV[start : start + 4]) for start in (0, 0, 2, 4, 8, 12) for one in (first, second)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert any(isinstance(outcome, SearchOverError) for outcome in outcomes)
    assert all(isinstance(outcome, SearchOverError | list) for outcome in outcomes)
    assert arena.spent == len(world.runs.started) == len(set(world.runs.started)) <= 20


async def test_a_measurement_that_does_not_fit_dispatches_nothing() -> None:
    world = small_world()
    arena = evaluations(world, 5)
    with pytest.raises(SearchOverError, match="budget"):
        await arena.measure([two_candidates()[0]], DEV[:6])
    assert world.runs.started == []
    assert arena.spent == 0


async def test_another_evolution_takes_the_same_grades_from_the_cache_and_still_counts_them() -> None:
    world = small_world()
    candidate, _ = two_candidates()
    before = await evaluations(world, 100).measure([candidate], DEV)
    again = evaluations(world, 100, evolution_id="evo-2")
    assert await again.measure([candidate], DEV) == before
    assert len(world.runs.started) == again.spent == len(DEV)


async def test_another_grader_is_never_served_from_the_cache() -> None:
    world = small_world()
    candidate, _ = two_candidates()
    await evaluations(world, 100).measure([candidate], DEV[:4])
    other = evaluations(world, 100, kind="exact")
    await other.measure([candidate], DEV[:4])
    assert other.dispatched == 4


async def test_no_new_run_begins_after_the_deadline_and_nothing_is_charged() -> None:
    world = small_world()
    arena = evaluations(world, 100)
    arena.deadline = world.clock.moment + timedelta(seconds=10)
    candidate, _ = two_candidates()
    await arena.measure([candidate], DEV[:4])
    world.clock.moment += timedelta(seconds=11)
    assert await arena.measure([candidate], DEV[:4]), "what is known needs no time"
    with pytest.raises(SearchOverError, match="time"):
        await arena.measure([candidate], DEV[:8])
    assert arena.spent == len(world.runs.started) == 4


async def test_runs_that_did_not_end_or_did_not_succeed_are_failures_and_stay_so() -> None:
    def answer(command: ExecuteRun) -> Any:
        number = int((command.case_id or "-0").split("-")[1])
        if number % 3 == 0:
            return None
        status = "degraded" if number % 3 == 1 else "failed"
        return finished(command, status, {"answer": "positive"}, error="model is down")

    world = small_world(answers=answer)
    arena = evaluations(world, 100)
    candidate, _ = two_candidates()
    assert await arena.measure([candidate], DEV[:6]) == [[None] * 6]
    assert arena.errors(candidate.digest)[0] == "model is down"
    assert await evaluations(world, 100).measure([candidate], DEV[:6]) == [[None] * 6]


async def test_no_executor_at_all_is_no_verdict_on_the_candidate() -> None:
    world = small_world(answers=lambda command: None)
    arena = evaluations(world, 100)
    with pytest.raises(UnavailableError, match="executor"):
        await arena.measure([two_candidates()[0]], DEV[:4])
    assert arena.spent == 0


async def test_wrong_answers_are_kept_for_reflection() -> None:
    world = small_world(quality=lambda document: 0.0)
    arena = evaluations(world, 100)
    candidate, _ = two_candidates()
    await arena.measure([candidate], DEV[:3])
    assert [failure.case.id for failure in arena.failures(candidate.digest)] == DEV[:3]


def test_operator_names_are_unique() -> None:
    names = [operator.name for operator in all_operators()]
    assert len(names) == len(set(names))


async def test_what_did_not_end_in_time_counts_in_this_search_and_is_measured_again_by_the_next() -> None:
    """An executor that was away for a while makes no revision worse for ever."""
    world = small_world()
    (candidate, _), late = two_candidates(), set(DEV[:3])
    world.runs.answers = lambda order: None if order.case_id in late else world.runs._answer(order)
    (grades,) = await evaluations(world, 100).measure([candidate], DEV[:8])
    assert grades[:3] == [None] * 3 and None not in grades[3:]
    world.runs.answers = None
    same = evaluations(world, 100)
    assert await same.measure([candidate], DEV[:8]) == [grades] and same.dispatched == 0, "else a crash would change the archive"
    other = evaluations(world, 100, evolution_id="evo-2")
    (again,) = await other.measure([candidate], DEV[:8])
    assert other.dispatched == 3 and None not in again and again[3:] == grades[3:]
    third = evaluations(world, 100, evolution_id="evo-3")
    assert await third.measure([candidate], DEV[:8]) == [again] and third.dispatched == 0


async def test_what_failed_because_of_a_provider_is_measured_again_by_the_next_search() -> None:
    world = small_world()
    (candidate, _), broken = two_candidates(), set(DEV[:3])

    def failing(order: ExecuteRun) -> RunFinished:
        run = world.runs._answer(order)
        return run.model_copy(update={"status": "failed", "error": "overloaded"}) if order.case_id in broken else run

    world.runs.answers = failing
    (grades,) = await evaluations(world, 100).measure([candidate], DEV[:8])
    assert grades[:3] == [None] * 3
    world.runs.answers = None
    same = evaluations(world, 100)
    assert await same.measure([candidate], DEV[:8]) == [grades] and same.dispatched == 0
    other = evaluations(world, 100, evolution_id="evo-2")
    (again,) = await other.measure([candidate], DEV[:8])
    assert other.dispatched == 3 and None not in again


async def test_no_more_is_done_than_was_counted_where_a_batch_fails_in_the_middle() -> None:
    world = small_world(crash_after=10)
    arena = evaluations(world, 100)
    candidate, _ = two_candidates()
    await arena.measure([candidate], DEV[:4])
    with pytest.raises(RuntimeError, match="killed"):
        await arena.measure([candidate], DEV[:20])
    assert (arena.done, arena.ran, arena.spent) == (4, 4, 4)
    await evaluations(world, 100).measure([candidate], DEV[:8])
    arena.deadline = world.clock.moment
    with pytest.raises(SearchOverError, match="time"):
        await arena.measure([candidate], DEV)
    assert (arena.done, arena.ran, arena.spent) == (4, 4, 4)
    arena.deadline = None
    await arena.measure([candidate], DEV[:20])
    assert (arena.done, arena.ran, arena.spent) == (20, 16, 20)


async def test_what_is_measured_while_a_revision_is_taken_back_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world()
    taken, other = two_candidates()
    run_all = world.runs.run_all

    async def and_meanwhile(*commands: Any, **options: Any) -> Any:
        ended = await run_all(*commands, **options)
        await forget([taken.digest], world.evolution)
        return ended

    monkeypatch.setattr(world.runs, "run_all", and_meanwhile)
    await evaluations(world, 100).measure([taken, other], DEV[:4])
    rows = await world.database.collection("evaluations").find({})
    assert {row["digest"] for row in rows} == {other.digest}
