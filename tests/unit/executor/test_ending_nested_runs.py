"""What is nested in a run ends with it, also where nobody waits for it any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.adapters.nats import FleetChildren
from services.executor.domain.records import RunRecord
from services.executor.use_cases import cancel_run, pause_run
from shared.clock import SystemClock
from shared.events.message import Query
from shared.events.runs import CancelRun, ExecuteRun, PauseRun
from tests.eventually import eventually
from tests.fakes.broker import InMemoryBroker, InMemoryBus
from tests.fakes.durable_boundaries import Boundaries
from tests.fakes.executor import ExecutorKit, new_id
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import command, end_of

CHILD = {"name": "child", "steps": [{"name": "ask", "type": "claude", "prompt": "?"}]}
OUTER = {"name": "outer", "steps": [{"name": "nest", "type": "pipeline", "pipeline": CHILD}]}


def kit_of(slots: int) -> ExecutorKit:
    """Nested runs ask, here or in another executor, and are not answered."""
    model = ScriptedModel(delay_seconds=30)
    kit = ExecutorKit(model=model, slots=slots, pause_grace_seconds=0.05)
    other = ExecutorKit(
        database=kit.database, guardrail=kit.guardrail, notary=kit.notary, model=model, name="executor-2", sequence=100
    )
    kit.bus.runs = other.deliver
    return kit


async def begun(kit: ExecutorKit, order: ExecuteRun) -> asyncio.Task[Any]:
    assert isinstance(kit.model, ScriptedModel)
    running, model = asyncio.create_task(kit.deliver(order, sequence=3)), kit.model
    await eventually(lambda: model.requests)
    return running


async def nested(kit: ExecutorKit) -> RunRecord:
    (child,) = await kit.runs.nested_in("run-1")
    return child


@pytest.mark.parametrize("slots", [1, 2], ids=["here", "over the bus"])
async def test_cancelling_a_paused_run_ends_what_is_nested_in_it(slots: int) -> None:
    kit = kit_of(slots)
    running = await begun(kit, command(kit, document=OUTER))
    await pause_run(PauseRun(run_id="run-1"), new_id(), kit.executor)
    assert await running is None
    assert ((await nested(kit)).status, kit.bus.cancelled) == ("running", [])
    await cancel_run(CancelRun(run_id="run-1", author="ann"), new_id(), kit.executor)
    child = await nested(kit)
    assert (kit.bus.cancelled, child.status) == (([child.run_id], "running") if slots > 1 else ([], "cancelled"))


@pytest.mark.parametrize("slots", [1, 2], ids=["here", "over the bus"])
async def test_a_run_that_may_not_go_on_ends_what_a_former_owner_nested_in_it(slots: int) -> None:
    kit = kit_of(slots)
    await kit.notary.deploy(kit.guardrail, OUTER)
    order = ExecuteRun(run_id="run-1", pipeline="outer")
    await end_of(await begun(kit, order))
    await kit.notary.deploy(kit.guardrail, OUTER, status="quarantined")
    run = await kit.execute(order, sequence=3, attempt=2)
    assert (run.status, run.error_code) == ("refused", "not_attested")
    child = await nested(kit)
    assert kit.bus.cancelled == [child.run_id] if slots > 1 else child.status in ("cancelled", "refused")


async def test_a_nested_run_that_was_cancelled_and_retried_can_be_cancelled_again() -> None:
    async def nobody(query: Query) -> dict[str, Any]:
        raise AssertionError

    broker = InMemoryBroker()
    children = FleetChildren(InMemoryBus(broker, Boundaries(), SystemClock(), nobody))
    for ended_before in (0, 0, 1):
        await children.cancel({"child-1": ended_before}, "run run-1 has ended")
    assert len(broker.commands) == 2
