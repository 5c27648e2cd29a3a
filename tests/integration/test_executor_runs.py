"""Executors on a real broker and a real store."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any

import nats
import pytest

from shared.errors import NotFoundError
from shared.events.runs import CancelRun, ExecuteRun, FinishedRuns, GetRun, ListRuns, RunFinished, RunStarted
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

STEPS = [{"name": f"s{n}", "type": "claude", "prompt": "{{ word }} " + str(n)} for n in range(3)]
ASKING = {"name": "asking", "inputs": {"word": "string"}, "steps": STEPS, "outputs": {"said": "{{ steps.s2.text }}"}}


def trial(notary: Notary, run_id: str = "", document: dict[str, Any] = ASKING, **fields: Any) -> ExecuteRun:
    given = {"inputs": {"word": "hi"}, "purpose": "trial", "scope": notary.grant(), **fields}
    return ExecuteRun(run_id=run_id or uuid.uuid4().hex, document=document, **given)


async def ended(bus: Bus, *orders: ExecuteRun, seconds: float = 20) -> dict[str, RunFinished]:
    return await Fleet(bus).run_all(orders, max_in_flight=64, deadline_seconds=seconds)


async def facts_about(nats_url: str, run_id: str) -> list[str]:
    """Subjects of all stored facts that name the run."""
    client = await nats.connect(nats_url)
    try:
        stream = client.jetstream()
        state = (await stream.stream_info("EVT")).state
        found = [await stream.get_msg("EVT", seq) for seq in range(state.first_seq, state.last_seq + 1)] if state.messages else []
        return [str(message.subject) for message in found if run_id.encode() in (message.data or b"")]
    finally:
        await client.close()


async def test_a_deployed_revision_runs_end_to_end_and_can_be_asked_about(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary, nats_url: str
) -> None:
    digest = await notary.deploy(store.database("evoline_guardrail"), ASKING)
    await start_executor(ScriptedModel(lambda request: request.messages[0].text.upper()))
    bus = await open_bus("cli")
    order = ExecuteRun(run_id="e2e-1", pipeline="asking", inputs={"word": "hi"})
    run = (await ended(bus, order))["e2e-1"]
    assert (run.status, run.digest, run.executor_id) == ("succeeded", digest, "executor-0")
    assert "HI" in run.outputs["said"].upper()
    assert [step.position for step in run.steps] == ["s0", "s1", "s2"]
    assert run.queued_seconds > 0
    described = await bus.ask(GetRun(run_id="e2e-1"))
    assert [step["status"] for step in described["steps"]] == ["ok", "ok", "ok"]
    assert described["outputs"] == run.outputs
    assert (await bus.ask(FinishedRuns(run_ids=("e2e-1", "unknown"))))["runs"] == [run.model_dump(mode="json")]
    assert [row["run_id"] for row in (await bus.ask(ListRuns(pipeline="asking")))["runs"]] == ["e2e-1"]
    with pytest.raises(NotFoundError):
        await bus.ask(GetRun(run_id="unknown"))
    assert await facts_about(nats_url, "e2e-1") == [RunStarted.subject, RunFinished.subject]
    journal = store.database("evoline_executor").collection("journal")
    assert await journal.count({"run_id": "e2e-1"}) == 3


async def test_the_same_run_asked_for_many_times_is_run_once(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary
) -> None:
    model = ScriptedModel(delay_seconds=0.05)
    await start_executor(model)
    await start_executor(model)
    bus = await open_bus("cli")
    order = trial(notary, "again")
    for copy in range(6):
        await bus.publish(order, cause=f"again-{copy}")
    run = (await ended(bus, order))["again"]
    assert run.status == "succeeded"
    await eventually(lambda: no_commands(bus))
    assert len(model.requests) == 3
    assert (await ended(bus, order))["again"] == run


async def no_commands(bus: Bus) -> bool:
    return (await bus.jetstream.stream_info("CMD")).state.messages == 0


async def test_a_refused_run_is_told_to_whoever_waits(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary, nats_url: str
) -> None:
    model = ScriptedModel()
    await start_executor(model)
    bus = await open_bus("cli")
    unsigned = ExecuteRun(run_id="no-scope", document=ASKING, inputs={"word": "hi"})
    absent = ExecuteRun(run_id="absent", pipeline="nowhere")
    runs = await ended(bus, unsigned, absent)
    assert [(runs[run_id].status, runs[run_id].error_code) for run_id in ("no-scope", "absent")] == [
        ("refused", "not_attested"),
        ("refused", "not_found"),
    ]
    assert await facts_about(nats_url, "no-scope") == [RunFinished.subject]
    assert model.requests == []


async def test_a_scopes_budget_holds_over_competing_executors(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary
) -> None:
    model = ScriptedModel(delay_seconds=0.01)
    await start_executor(model)
    await start_executor(model)
    scope = notary.grant(budget=Budget(runs=10, calls=20, tokens=1_000_000))
    runs = await ended(await open_bus("cli"), *(trial(notary, f"budget-{n}", scope=scope) for n in range(16)))
    outcomes = Counter(run.status for run in runs.values())
    assert outcomes["refused"] == 6
    assert len(model.requests) == 20
    usage = await store.database("evoline_executor").collection("scope_usage").get("scope-1")
    assert usage is not None
    assert (usage["runs"], usage["calls"]) == (10, 20)


async def test_cancelling_cuts_the_call_off_within_a_second(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary
) -> None:
    model = ScriptedModel(delay_seconds=60)
    await start_executor(model)
    bus = await open_bus("cli")
    waiting = asyncio.create_task(ended(bus, trial(notary, "stop-me")))
    await eventually(lambda: len(model.requests) == 1)
    await bus.publish(CancelRun(run_id="stop-me", author="ann"), cause="stop-me")
    await eventually(lambda: model.cancelled == 1, timeout_seconds=1.0)
    assert (await waiting)["stop-me"].status == "cancelled"


async def test_nested_runs_work_over_the_bus_even_when_parents_fill_every_place(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary
) -> None:
    model = ScriptedModel(delay_seconds=0.01)
    await start_executor(model, concurrency=2)
    nest = {"name": "nest", "type": "pipeline", "pipeline": ASKING, "inputs": {"word": "deep"}}
    parent = {"name": "parent", "steps": [nest]}
    runs = await ended(await open_bus("cli"), *(trial(notary, f"nest-{n}", parent, inputs={}) for n in range(6)))
    assert {run.status for run in runs.values()} == {"succeeded"}
    assert len(runs) == 6
    assert len(model.requests) == 18
    assert await store.database("evoline_executor").collection("runs").count({"status": "running"}) == 0


async def test_runs_of_all_kinds_of_values_come_back_as_they_were(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary
) -> None:
    await start_executor(ScriptedModel())
    value = {"$set": {"a.b": 2**70, "": None, "ü\u2028": [1.5, True, {"$ref": "x"}]}}
    document = {"name": "values", "steps": [{"name": "keep", "type": "set_variable", "variable": "v", "value": "{{ given }}"}]}
    bus = await open_bus("cli")
    run = (await ended(bus, trial(notary, "values", document, inputs={"given": value})))["values"]
    assert run.outputs == value
    assert (await bus.ask(GetRun(run_id="values")))["steps"][0]["value"] == value


async def test_values_far_beyond_a_message_go_in_through_and_out(
    start_executor: StartExecutor, open_bus: OpenBus, notary: Notary, store: MongoStore
) -> None:
    await start_executor(ScriptedModel(lambda request: "yes"))
    rows = [{"n": n, "text": "word " * 20} for n in range(150_000)]
    keep = {"name": "keep", "type": "set_variable", "variable": "kept", "value": "{{ rows }}"}
    large = {"name": "large", "inputs": {"rows": "array"}, "steps": [keep, STEPS[0] | {"prompt": "Short?", "context": "none"}]}
    document = {**large, "outputs": {"rows": "{{ vars.kept }}"}}
    order = trial(notary, "large-1", document, inputs={"rows": rows})
    run = (await ended(await open_bus("cli"), order, seconds=90))["large-1"]
    assert run.status == "succeeded"
    assert run.outputs["rows"] == rows
    record = await store.database("evoline_executor").collection("runs").get("large-1")
    assert record is not None
    assert len(record["command"]) + len(record["finished"]) < 20_000
