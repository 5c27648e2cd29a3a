"""Writes and publishes of a run, counted with no slack, and a death before and after each of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from shared.events.runs import ExecuteRun
from tests.fakes.durable_boundaries import Boundaries, WatchedAnnouncer, WatchedDatabase
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
