"""Many runs over the bus with executors that are scripted: bounded, complete, in time."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from shared.errors import InvalidInputError
from shared.events import Message
from shared.events.runs import ExecuteRun, FinishedRuns, RunFinished
from shared.messaging.bus import Bus
from shared.messaging.consumer import Answer, Consumer
from shared.messaging.fleet import Fleet
from shared.messaging.handling import Delivery
from tests.conftest import OpenBus
from tests.messaging import consuming

pytestmark = pytest.mark.usefixtures("empty_streams")


def ended(run_id: str) -> RunFinished:
    return RunFinished(run_id=run_id, pipeline="p", digest="d", domain="x", purpose="trial", status="succeeded")


def commands(count: int) -> list[ExecuteRun]:
    prefix = uuid.uuid4().hex
    return [ExecuteRun(run_id=f"{prefix}-{number}", pipeline="p", purpose="trial") for number in range(count)]


@dataclass
class ScriptedExecutor:
    """Ends each run after `seconds`; can stay silent about some, or never end them."""

    seconds: float = 0.02
    silent: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()
    started: list[str] = field(default_factory=list)
    done: dict[str, RunFinished] = field(default_factory=dict)
    running: int = 0
    most_running: int = 0

    async def execute(self, command: ExecuteRun, delivery: Delivery) -> Sequence[tuple[str, Message]]:
        self.started.append(command.run_id)
        if command.run_id in self.stuck:
            return []
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(self.seconds)
        self.running -= 1
        self.done[command.run_id] = ended(command.run_id)
        return [] if command.run_id in self.silent else [("finished", self.done[command.run_id])]

    async def finished(self, query: FinishedRuns) -> Answer:
        return {"runs": [self.done[run_id].model_dump(mode="json") for run_id in query.run_ids if run_id in self.done]}

    def register(self, consumer: Consumer) -> None:
        consumer.on(ExecuteRun, self.execute, durable="executor-execute", concurrency=8)
        consumer.answers(FinishedRuns, self.finished)


@contextlib.asynccontextmanager
async def fleet_with(executor: ScriptedExecutor, open_bus: OpenBus, nats_url: str) -> AsyncIterator[Fleet]:
    caller: Bus = await open_bus("evolution")
    async with consuming(await open_bus("executor"), nats_url, executor.register):
        yield Fleet(caller, poll_seconds=0.2)


async def test_all_runs_come_back_once_and_never_more_are_out_than_allowed(open_bus: OpenBus, nats_url: str) -> None:
    executor, heard = ScriptedExecutor(), list[str]()
    wanted = commands(40)
    async with fleet_with(executor, open_bus, nats_url) as fleet:
        runs = await fleet.run_all(
            [*wanted, wanted[0]], max_in_flight=4, deadline_seconds=20, on_finished=lambda run: heard.append(run.run_id)
        )
    assert set(runs) == {command.run_id for command in wanted}
    assert sorted(heard) == sorted(runs)
    assert sorted(executor.started) == sorted(runs)
    assert executor.most_running == 4


async def test_runs_whose_fact_was_lost_are_found_by_asking(open_bus: OpenBus, nats_url: str) -> None:
    wanted = commands(6)
    executor = ScriptedExecutor(silent=frozenset(command.run_id for command in wanted[::2]))
    async with fleet_with(executor, open_bus, nats_url) as fleet:
        runs = await fleet.run_all(wanted, max_in_flight=2, deadline_seconds=20)
    assert set(runs) == {command.run_id for command in wanted}


async def test_runs_that_ended_before_are_not_started_again(open_bus: OpenBus, nats_url: str) -> None:
    wanted = commands(5)
    executor = ScriptedExecutor(done={command.run_id: ended(command.run_id) for command in wanted[:3]})
    async with fleet_with(executor, open_bus, nats_url) as fleet:
        runs = await fleet.run_all(wanted, max_in_flight=5, deadline_seconds=20)
    assert set(runs) == {command.run_id for command in wanted}
    assert sorted(executor.started) == sorted(command.run_id for command in wanted[3:])


async def test_what_did_not_end_by_the_deadline_is_absent(open_bus: OpenBus, nats_url: str) -> None:
    wanted = commands(4)
    executor = ScriptedExecutor(stuck=frozenset({wanted[1].run_id}))
    async with fleet_with(executor, open_bus, nats_url) as fleet:
        runs = await fleet.run_all(wanted, max_in_flight=4, deadline_seconds=1.5)
    assert set(runs) == {command.run_id for command in wanted} - {wanted[1].run_id}


async def test_without_any_executor_the_deadline_holds_and_the_commands_wait(open_bus: OpenBus) -> None:
    bus = await open_bus("evolution")
    assert await Fleet(bus, poll_seconds=0.2).run_all(commands(3), max_in_flight=2, deadline_seconds=1.0) == {}
    assert (await bus.jetstream.stream_info("CMD")).state.messages == 2


async def test_no_commands_are_no_runs_and_no_room_is_refused(open_bus: OpenBus) -> None:
    fleet = Fleet(await open_bus("evolution"))
    assert await fleet.run_all([], max_in_flight=1, deadline_seconds=1) == {}
    with pytest.raises(InvalidInputError, match="max_in_flight"):
        await fleet.run_all(commands(1), max_in_flight=0, deadline_seconds=1)


async def test_a_command_that_cannot_be_published_is_told_as_what_it_is(open_bus: OpenBus) -> None:
    bus = await open_bus("client")
    document = {"name": "p", "description": "x" * 1_100_000, "steps": []}
    wanted = [*commands(1), ExecuteRun(run_id="too-large", document=document, pipeline="p")]
    with pytest.raises(InvalidInputError, match="at most"):
        await Fleet(bus).run_all(wanted, max_in_flight=2, deadline_seconds=20)
