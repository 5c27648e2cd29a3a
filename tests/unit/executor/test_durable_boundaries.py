"""Writes and publishes of a run, counted with no slack, and a death before and after each of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from shared.events.runs import ExecuteRun, RunFinished
from tests.fakes.durable_boundaries import Boundaries, Moment, WatchedAnnouncer, WatchedDatabase
from tests.fakes.executor import ExecutorKit, Facts, Notary
from tests.fakes.language_model import ScriptedModel
from tests.fakes.storage import InMemoryDatabase

STEPS = [{"name": f"s{n}", "type": "claude", "prompt": f"Question {n}?", "context": "none"} for n in range(3)]
ASKING = {"name": "asking", "steps": STEPS, "outputs": {"answers": [f"{{{{ steps.s{n}.text }}}}" for n in range(3)]}}
BOUNDARIES_OF_A_RUN = (
    "runs.insert",
    "publish.started",
    "journal.insert",
    "journal.insert",
    "journal.insert",
    "runs.update",
    "publish.finished",
)


class World:
    """Stores and stream that outlive every executor."""

    def __init__(self) -> None:
        self.database = InMemoryDatabase()
        self.guardrail = InMemoryDatabase()
        self.notary = Notary()
        self.facts: Facts = []
        self.model = ScriptedModel(lambda request: f"answer to {request.messages[0].text}")
        self.order = ExecuteRun(run_id="run-1", pipeline="asking")

    async def executor(self, boundaries: Boundaries) -> ExecutorKit:
        await self.notary.deploy(self.guardrail, ASKING)
        return ExecutorKit(
            database=WatchedDatabase(self.database, boundaries),
            guardrail=self.guardrail,
            notary=self.notary,
            model=self.model,
            announcer=WatchedAnnouncer(self.facts, boundaries),
        )

    async def die(self, boundary: int, moment: Moment) -> None:
        """One delivery to an executor that dies there."""
        boundaries = Boundaries(boundary, moment)
        kit = await self.executor(boundaries)
        task = asyncio.create_task(kit.deliver(self.order, sequence=5))
        async with asyncio.timeout(5):
            await boundaries.dead.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def survive(self) -> RunFinished:
        """The redelivery to an executor that lives."""
        kit = await self.executor(Boundaries())
        return await kit.execute(self.order, sequence=5, attempt=2)

    async def journaled(self) -> set[str]:
        return {line["path"] for line in await self.database.collection("journal").find({"kind": "step"})}

    def asked(self) -> Counter[str]:
        return Counter(request.messages[0].text for request in self.model.requests)


async def test_a_run_of_three_steps_is_two_run_writes_three_journal_writes_and_two_publishes() -> None:
    world, boundaries = World(), Boundaries()
    kit = await world.executor(boundaries)
    await kit.execute(world.order)
    assert sorted(boundaries.passed) == sorted(BOUNDARIES_OF_A_RUN)


async def test_loops_and_skipped_steps_cost_one_journal_write_a_step() -> None:
    world, boundaries = World(), Boundaries()
    kit = await world.executor(boundaries)
    word = {"name": "word", "type": "set_variable", "variable": "w", "value": "{{ loop.item }}"}
    steps: list[dict[str, Any]] = [
        {"name": "each", "type": "for_loop", "items": [1, 2], "steps": [word]},
        {"name": "never", "type": "set_variable", "variable": "x", "value": 1, "when": "false"},
    ]
    await world.notary.deploy(world.guardrail, {"name": "looping", "steps": steps})
    run = await kit.execute(ExecuteRun(run_id="run-2", pipeline="looping"))
    counts = Counter(boundaries.passed)
    assert counts == {"runs.insert": 1, "runs.update": 1, "journal.insert": 4, "publish.started": 1, "publish.finished": 1}
    assert len(run.steps) == 4


async def test_a_refused_run_is_one_write_and_one_publish() -> None:
    world, boundaries = World(), Boundaries()
    kit = await world.executor(boundaries)
    await kit.execute(ExecuteRun(run_id="run-2", pipeline="unknown"))
    assert boundaries.passed == ["runs.insert", "publish.finished"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("boundary", range(len(BOUNDARIES_OF_A_RUN)))
async def test_a_death_at_any_boundary_loses_nothing_and_repeats_no_finished_step(boundary: int, moment: Moment) -> None:
    world = World()
    await world.die(boundary, moment)
    before, asked_before = await world.journaled(), world.asked()
    run = await world.survive()
    assert run.status == "succeeded"
    assert run.outputs == {"answers": [f"answer to Question {n}?" for n in range(3)]}
    asked_again = world.asked() - asked_before
    assert {f"s{text.split()[1][0]}" for text in asked_again}.isdisjoint(before)
    assert sum(world.asked().values()) <= 4, "at most one call is made twice for one death"
    assert await world.journaled() == {"s0", "s1", "s2"}
    ends = [(event_id, fact) for event_id, fact in world.facts if isinstance(fact, RunFinished)]
    assert len({event_id for event_id, _ in ends}) == 1
    assert all(fact == run for _, fact in ends)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("boundary", range(len(BOUNDARIES_OF_A_RUN)))
async def test_two_deaths_in_a_row_lose_nothing_either(boundary: int, moment: Moment) -> None:
    world = World()
    await world.die(3, "before")
    boundaries = Boundaries(boundary, moment)
    kit = await world.executor(boundaries)
    task = asyncio.create_task(kit.deliver(world.order, sequence=5, attempt=2))
    dying = asyncio.create_task(boundaries.dead.wait())
    await asyncio.wait([task, dying], return_when=asyncio.FIRST_COMPLETED, timeout=5)
    for each in (task, dying):
        each.cancel()
    await asyncio.gather(task, dying, return_exceptions=True)
    run = await world.survive()
    assert run.outputs == {"answers": [f"answer to Question {n}?" for n in range(3)]}
    assert sum(world.asked().values()) <= 5
    assert await world.journaled() == {"s0", "s1", "s2"}


async def test_the_end_is_published_even_if_the_executor_dies_between_storing_and_telling_it() -> None:
    world = World()
    await world.die(5, "after")
    assert not any(isinstance(fact, RunFinished) for _, fact in world.facts)
    run = await world.survive()
    assert [fact for _, fact in world.facts if isinstance(fact, RunFinished)] == [run]
    assert len(world.model.requests) == 3
