"""Runs that are paused, parked, forked and cancelled, on a real broker and a real store."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from evoline.client.control import RunControl
from shared.errors import InvalidInputError, ProviderError
from shared.events.runs import CancelRun, ExecuteRun, ForkRun, GetRun, ListRuns, RunFinished, RunSuspended
from shared.events.values import Budget
from shared.messaging.bus import Bus
from shared.messaging.fleet import Fleet
from shared.storage import MongoStore
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.executor import Notary
from tests.fakes.language_model import ScriptedModel
from tests.integration.executors import StartExecutor

pytestmark = pytest.mark.usefixtures("empty_streams")

STEPS = [{"name": f"s{n}", "type": "claude", "prompt": "{{ word }} " + str(n), "context": "none"} for n in range(3)]
ASKING = {"name": "asking", "inputs": {"word": "string"}, "steps": STEPS, "outputs": {"said": "{{ steps.s2.text }}"}}
PATIENT = {
    "name": "patient",
    "steps": [
        {
            "name": "limited",
            "type": "claude",
            "prompt": "Go?",
            "retry": {"max_attempts": 3, "initial_seconds": 0.01, "max_seconds": 60},
        }
    ],
}


async def is_idle(bus: Bus) -> bool:
    info = await bus.jetstream.consumer_info("CMD", "executor-execute")
    return (info.num_pending, info.num_ack_pending) == (0, 0)


async def timers(bus: Bus) -> int:
    state = (await bus.jetstream.stream_info("CMD", subjects_filter="timer.>")).state
    return len(state.subjects or {})


async def test_a_run_is_paused_resumed_and_forked_by_its_client(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary
) -> None:
    await notary.deploy(store.database("evoline_guardrail"), ASKING)
    model = ScriptedModel(lambda request: request.messages[0].text.upper(), delay_seconds=0.3)
    await start_executor(model)
    bus = await open_bus("cli")
    control = RunControl(bus, author="ann")
    await bus.publish(ExecuteRun(run_id="run-1", pipeline="asking", inputs={"word": "rain"}), cause="run-1")
    await eventually(lambda: model.requests)
    paused = await control.pause("run-1", "lunch")
    assert isinstance(paused, RunSuspended)
    await eventually(lambda: is_idle(bus))
    assert (await bus.ask(ListRuns(status="paused")))["runs"][0]["run_id"] == "run-1"
    run = await control.resume("run-1")
    assert isinstance(run, RunFinished)
    assert (run.status, len(model.requests)) == ("succeeded", 3)
    fork = ForkRun(run_id="run-1", new_run_id="fork-1", from_step="s2", inputs={"word": "snow"})
    forked = await control.fork(fork)
    assert isinstance(forked, RunFinished)
    assert (forked.status, len(model.requests)) == ("succeeded", 4)
    assert "SNOW" in forked.outputs["said"]
    with pytest.raises(InvalidInputError, match="its status is succeeded"):
        await control.pause("run-1")


async def test_a_parked_run_is_set_going_by_the_broker_on_whichever_executor(
    start_executor: StartExecutor, open_bus: OpenBus, notary: Notary
) -> None:
    limit = ProviderError("rate_limit", "slowly", 1.0)
    model = ScriptedModel([limit, "ok"])
    await start_executor(model, park_after_seconds=0.2, concurrency=1)
    await start_executor(model, park_after_seconds=0.2, concurrency=1)
    bus = await open_bus("cli")
    order = ExecuteRun(run_id=uuid.uuid4().hex, document=PATIENT, scope=notary.grant(), purpose="trial")
    async with bus.follow(RunSuspended, RunFinished) as facts:
        await bus.publish(order, cause=order.run_id)
        suspended, _ = await anext(facts)
        assert isinstance(suspended, RunSuspended)
        assert (suspended.status, suspended.until is not None) == ("waiting", True)
        assert await timers(bus) == 1
        await eventually(lambda: is_idle(bus))
        async with asyncio.timeout(10):
            run, _ = await anext(facts)
    assert isinstance(run, RunFinished)
    assert (run.status, run.steps[0].attempts, len(model.requests)) == ("succeeded", 2, 2)
    assert await timers(bus) == 0


async def test_nothing_is_left_of_a_thousand_runs_that_were_cancelled_or_timed_out(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary, tmp_path: Path
) -> None:
    model = ScriptedModel(delay_seconds=60)
    await start_executor(model, concurrency=100, cancel_poll_seconds=0.1)
    bus = await open_bus("client")
    before = len(asyncio.all_tasks())
    scope = notary.grant(budget=Budget(runs=2000, calls=2000, tokens=2_000_000, cost_usd=1.0))
    orders = [_order(n, scope) for n in range(1000)]
    finished: list[RunFinished] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(_cancel_odd(bus, orders))
        ends = group.create_task(Fleet(bus).run_all(orders, max_in_flight=200, deadline_seconds=120, on_finished=finished.append))
    codes = {run.error_code for run in ends.result().values()}
    assert len(ends.result()) == 1000
    assert codes == {"cancelled", "limit_reached:seconds"}
    await eventually(lambda: is_idle(bus))
    await eventually(lambda: len(asyncio.all_tasks()) <= before + 2)
    assert model.in_flight == 0
    assert not list((tmp_path / "workspaces").glob("*"))
    model.delay_seconds = 0
    fresh = [_order(n, scope) for n in range(1000, 1100)]
    again = await Fleet(bus).run_all(fresh, max_in_flight=100, deadline_seconds=60)
    assert {run.status for run in again.values()} == {"succeeded"}
    assert model.most_in_flight <= 100


def _order(number: int, scope: Any) -> ExecuteRun:
    files = {"name": "note", "type": "file_ops", "operation": "write", "path": "a.txt", "content": "x"}
    ask = {"name": "ask", "type": "claude", "prompt": "?", "context": "none", "timeout_seconds": 50}
    document = {"name": "leaving", "steps": [files, ask]}
    limits = {"seconds": 0.5 if number % 2 == 0 and number < 1000 else 300}
    return ExecuteRun(run_id=f"leak-{number}", document=document, scope=scope, purpose="trial", limits=limits)


async def _cancel_odd(bus: Bus, orders: list[ExecuteRun]) -> None:
    for order in orders:
        if order.limits["seconds"] > 1:
            await bus.publish(CancelRun(run_id=order.run_id, author="ann"), cause=order.run_id)


async def test_a_run_that_nobody_knows_cannot_be_controlled(start_executor: StartExecutor, open_bus: OpenBus) -> None:
    await start_executor(ScriptedModel())
    bus = await open_bus("cli")
    with pytest.raises(Exception, match="unknown"):
        await RunControl(bus).resume("unknown")
    with pytest.raises(Exception, match="unknown"):
        await bus.ask(GetRun(run_id="unknown"))
