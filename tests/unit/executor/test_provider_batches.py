"""Steps that wait for a provider's batch: submitted once, whoever owns the run, within the run's limits and the step's time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.domain.records import JournalEntry
from services.executor.domain.spending import Spending
from services.executor.use_cases import cancel_run, pause_run, resume_run, retry_run
from shared.errors import ProviderError, ProviderRefusedError, UnavailableError
from shared.events.runs import CancelRun, ExecuteRun, PauseRun, ResumeRun, RetryRun, RunFinished
from tests.eventually import eventually
from tests.fakes.batches import BatchingModel, InMemoryBatches
from tests.fakes.executor import ExecutorKit, new_id
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import command, end_of, second

PROMPTS = ["one", "two", "three"]
TIMED_OUT = ProviderError("timeout", "timeout: no answer")
BUSY = ProviderError("overload", "busy")


def handing(execution: str = "sequential", limits: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    step = {"name": "many", "type": "claude_batch", "prompts": PROMPTS, "context": "none", "mode": "message_batches", **keys}
    said = {"said": "{{ steps.many.text }}"}
    return {"name": "handing", "execution": execution, "limits": limits or {}, "steps": [step], "outputs": said}


def in_place(**keys: Any) -> dict[str, Any]:
    """Who waits stays where he is."""
    return handing("dataflow", **{"poll_seconds": 0.01, **keys})


def kit_of(polls: int = 0, **options: Any) -> tuple[ExecutorKit, BatchingModel]:
    model = BatchingModel(offered=InMemoryBatches(lambda request: request.messages[0].text.upper(), polls=polls))
    return ExecutorKit(model=model, **{"park_after_seconds": 0.05, **options}), model


async def lines(kit: ExecutorKit) -> list[tuple[str, str]]:
    return [(entry.kind, entry.path) for entry in await kit.journal.entries("run-1")]


async def retried(kit: ExecutorKit) -> RunFinished:
    ((_, order),) = await retry_run(RetryRun(run_id="run-1"), new_id(), kit.executor)
    assert isinstance(order, ExecuteRun)
    return await kit.execute(order)


async def test_answers_come_in_the_order_of_the_prompts_from_one_submission() -> None:
    kit, model = kit_of()
    run = await kit.execute(command(kit, document=handing()))
    assert (run.status, run.outputs["said"]) == ("succeeded", "ONE\n\nTWO\n\nTHREE")
    assert (len(model.offered.made), model.requests) == (1, [])
    assert (run.usage.calls, run.usage.output_tokens) == (3, 3)
    assert await lines(kit) == [("batch", "many"), ("step", "many")]


async def test_a_batch_that_takes_its_time_frees_the_place_and_is_polled_by_whoever_goes_on() -> None:
    kit, model = kit_of(polls=2)
    document = handing(poll_seconds=0.1)
    assert await kit.deliver(command(kit, document=document), sequence=7) is None
    record = await kit.runs.get("run-1")
    assert record is not None
    assert (record.status, "waits for batch batch-0" in record.suspended_for) == ("waiting", True)
    other = second(kit)
    other.park_after_seconds = 0.05
    other.__post_init__()
    assert await other.deliver(kit.timers.set["run-1"][0], sequence=8) is None
    run = await kit.execute(other.timers.set["run-1"][0], sequence=9)
    assert (run.status, run.usage.calls) == ("succeeded", 3)
    assert len(model.offered.made) == 1


async def test_a_nested_run_that_waits_often_takes_its_step_once_from_what_it_shares() -> None:
    kit, _ = kit_of(polls=3)
    await kit.executor.pools.open("outer", Spending(steps=10, calls=10, tokens=100_000, cost_usd=1.0))
    order, ended = command(kit, document=handing(poll_seconds=0.1), pools=("outer",)), None
    while ended is None:
        ended = await kit.deliver(order)
        order = kit.timers.set["run-1"][0]
    pool = await kit.database.collection("pools").get("outer")
    assert pool is not None
    assert (ended.status, ended.resumed, pool["steps"], pool["calls"]) == ("succeeded", 0, 9, 7)


async def test_an_owner_lost_amid_a_batch_costs_no_second_one() -> None:
    kit, model = kit_of(polls=1_000_000)
    order = command(kit, document=in_place())
    lost = asyncio.create_task(kit.deliver(order, sequence=7))
    await eventually(lambda: model.offered.made)
    await eventually(lambda: lines(kit))
    model.offered.made["batch-0"].polls_left = 0
    run = await second(kit).execute(order, sequence=7, attempt=2)
    await end_of(lost)
    assert (run.status, run.resumed) == ("succeeded", 1)
    assert len(model.offered.made) == 1


async def test_a_submission_that_was_not_heard_of_is_found_again() -> None:
    kit, model = kit_of()
    model.faults = [TIMED_OUT]
    retry = {"max_attempts": 2, "initial_seconds": 0.001}
    run = await kit.execute(command(kit, document=handing(retry=retry)))
    assert (run.status, run.usage.calls, model.faults) == ("succeeded", 3, [])
    assert len(model.offered.made) == 1


async def test_a_provider_that_fails_while_it_is_asked_does_not_fail_the_batch() -> None:
    kit, model = kit_of(polls=1_000_000)
    run = asyncio.create_task(kit.execute(command(kit, document=in_place())))
    await eventually(lambda: model.offered.made)
    model.faults += [BUSY, ProviderError("connection", "cut"), TIMED_OUT]
    await eventually(lambda: not model.faults)
    model.offered.made["batch-0"].polls_left = 0
    assert (await run).status == "succeeded"


async def test_prompts_fail_alone_and_min_success_decides() -> None:
    refused = ProviderRefusedError("blocked")
    for min_success, status in ((2, "degraded"), (3, "failed")):
        kit, model = kit_of()
        model.offered.answer = lambda request: refused if request.messages[0].text == "two" else "fine"
        run = await kit.execute(command(kit, document=handing(min_success=min_success)))
        assert run.status == status
        result = (await kit.journal.entries("run-1"))[-1].result
        assert result is not None
        assert [each["error_code"] for each in result.value] == ["", "provider_refused", ""]
        assert (run.usage.calls, run.usage.output_tokens) == (3, 2)


async def test_limits_hold_before_anything_is_submitted() -> None:
    for limits in ({"calls": 2}, {"tokens": 50}):
        kit, model = kit_of()
        run = await kit.execute(command(kit, document=handing(limits=limits)))
        assert (run.status, run.error_code) == ("failed", f"limit_reached:{next(iter(limits))}")
        assert (model.offered.made, run.usage.calls) == ({}, 0)


async def test_a_trial_scope_counts_what_was_used() -> None:
    kit, _ = kit_of()
    await kit.execute(command(kit, document=handing()))
    used = await kit.database.collection("scope_usage").get("scope-1")
    assert used is not None
    assert (used["calls"], used["tokens"]) == (3, 6)


async def test_a_step_that_is_lost_after_its_batch_was_read_is_settled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kit, model = kit_of()
    order = command(kit, document=handing())
    append = kit.journal.append

    async def append_no_steps(entry: JournalEntry) -> None:
        if entry.kind == "step":
            raise UnavailableError("gone")
        await append(entry)

    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr(kit.journal, "append", append_no_steps)
        await kit.deliver(order, sequence=7)
    run = await second(kit).execute(order, sequence=7, attempt=2)
    used = await kit.database.collection("scope_usage").get("scope-1")
    assert used is not None
    assert (run.status, len(model.offered.made), used["calls"], used["tokens"]) == ("succeeded", 1, 3, 6)


async def test_a_submission_that_was_refused_leaves_the_scope_as_it_was() -> None:
    kit, model = kit_of()
    model.faults = [ProviderRefusedError("no")]
    run = await kit.execute(command(kit, document=handing()))
    used = await kit.database.collection("scope_usage").get("scope-1")
    assert used is not None
    assert (run.error_code, run.usage.calls, used["calls"], used["tokens"]) == ("provider_refused", 0, 0, 0)


async def test_a_batch_that_is_not_there_in_time_is_cancelled_and_keeps_what_was_answered() -> None:
    kit, model = kit_of(polls=1_000_000)
    model.offered.answered_early = 1
    run = await kit.execute(command(kit, document=in_place(timeout_seconds=0.05, min_success=1)))
    result = (await kit.journal.entries("run-1"))[-1].result
    assert result is not None
    assert [each["value"] for each in result.value] == ["ONE", None, None]
    assert (run.status, result.value[1]["error_code"], model.offered.made["batch-0"].cancelled) == ("degraded", "provider", True)
    assert "no answer within 0.05 s" in result.value[1]["error"]


async def test_the_time_of_a_step_goes_on_while_its_run_waits_elsewhere() -> None:
    kit, model = kit_of(polls=1_000_000)
    assert await kit.deliver(command(kit, document=handing(poll_seconds=0.1, timeout_seconds=0.2))) is None
    await asyncio.sleep(0.25)
    run = await kit.execute(kit.timers.set["run-1"][0])
    assert (run.status, model.offered.made["batch-0"].cancelled) == ("failed", True)


@pytest.mark.parametrize("document", [in_place(), handing(poll_seconds=10)], ids=["in place", "waiting"])
async def test_cancelling_the_run_cancels_its_batch(document: dict[str, Any]) -> None:
    kit, model = kit_of(polls=1_000_000)
    running = asyncio.create_task(kit.deliver(command(kit, document=document)))
    await eventually(lambda: model.offered.made and (running.done() or document == in_place()))
    await cancel_run(CancelRun(run_id="run-1", author="ann"), new_id(), kit.executor)
    await running
    assert kit.ends()[0].status == "cancelled"
    assert model.offered.made["batch-0"].cancelled


async def test_a_run_whose_time_is_over_cancels_its_batch() -> None:
    kit, model = kit_of(polls=1_000_000)
    run = await kit.execute(command(kit, document=in_place(limits={"seconds": 0.2})))
    assert (run.error_code, model.offered.made["batch-0"].cancelled) == ("limit_reached:seconds", True)


async def test_a_run_that_cannot_be_read_any_more_cancels_its_batch() -> None:
    kit, model = kit_of(polls=1_000_000)
    model.script = ["x" * 300_000]
    model.__post_init__()
    document = in_place()
    document["steps"].insert(0, {"name": "ask", "type": "claude", "prompt": "?"})
    document["steps"][1]["after"] = ["ask"]
    order = command(kit, document=document)
    lost = asyncio.create_task(kit.deliver(order, sequence=7))
    await eventually(lambda: model.offered.made)
    run = await second(kit).execute(order, sequence=7, attempt=2)
    await end_of(lost)
    assert (run.error_code, model.offered.made["batch-0"].cancelled) == ("not_found", True)


async def test_a_paused_run_leaves_its_batch_and_finds_it_again() -> None:
    kit, model = kit_of(polls=1_000_000, pause_grace_seconds=0.01)
    running = asyncio.create_task(kit.deliver(command(kit, document=in_place())))
    await eventually(lambda: lines(kit))
    await pause_run(PauseRun(run_id="run-1"), new_id(), kit.executor)
    assert await running is None
    assert not model.offered.made["batch-0"].cancelled
    model.offered.made["batch-0"].polls_left = 0
    ((_, order),) = await resume_run(ResumeRun(run_id="run-1"), new_id(), kit.executor)
    assert isinstance(order, ExecuteRun)
    assert (await kit.execute(order)).status == "succeeded"
    assert len(model.offered.made) == 1


async def test_a_retried_run_hands_its_prompts_over_anew() -> None:
    kit, model = kit_of()
    model.offered.answer = lambda request: ProviderRefusedError("blocked")
    await kit.execute(command(kit, document=handing()))
    model.offered.answer = lambda request: "fine"
    run = await retried(kit)
    assert (run.status, run.usage.calls, len(model.offered.made)) == ("succeeded", 3, 2)


async def test_a_run_that_was_cancelled_amid_its_batch_asks_anew_when_it_is_retried() -> None:
    kit, model = kit_of(polls=1_000_000)
    running = asyncio.create_task(kit.deliver(command(kit, document=in_place())))
    await eventually(lambda: lines(kit))
    await cancel_run(CancelRun(run_id="run-1", author="ann"), new_id(), kit.executor)
    await running
    model.offered.polls = 0
    run = await retried(kit)
    assert (run.status, run.usage.calls, len(model.offered.made)) == ("succeeded", 3, 2)


def falling_back() -> dict[str, Any]:
    batch = {**handing()["steps"][0], "name": "instead"}
    return {"name": "falling", "steps": [{"name": "ask", "type": "claude", "prompt": "?", "on_error": {"fallback": batch}}]}


async def test_a_batch_in_a_failed_steps_place_is_settled_with_that() -> None:
    kit, model = kit_of()
    model.script = lambda request: ProviderRefusedError("no")
    run = await kit.execute(command(kit, document=falling_back()))
    used = await kit.database.collection("scope_usage").get("scope-1")
    assert used is not None
    assert (run.status, used["calls"], used["tokens"]) == ("degraded", 4, 6)


async def test_a_batch_in_a_failed_steps_place_is_handed_over_anew_when_the_run_is_retried() -> None:
    kit, model = kit_of()
    model.script = lambda request: ProviderRefusedError("no")
    model.offered.answer = lambda request: ProviderRefusedError("blocked")
    assert (await kit.execute(command(kit, document=falling_back()))).status == "failed"
    model.offered.answer = lambda request: "fine"
    assert ((await retried(kit)).status, len(model.offered.made)) == ("degraded", 2)


async def test_a_run_that_asks_for_batches_where_nobody_takes_them_is_refused_before_its_first_step() -> None:
    kit = ExecutorKit(model=ScriptedModel())
    inside = {"name": "each", "type": "for_loop", "items": [1], "steps": handing()["steps"]}
    run = await kit.execute(
        command(kit, document={"name": "outer", "steps": [{"name": "s0", "type": "claude", "prompt": "x"}, inside]})
    )
    assert (run.status, run.error_code) == ("refused", "invalid_input")
    assert "steps.many.mode" in run.error
    assert "mode: parallel" in run.error
    assert isinstance(kit.model, ScriptedModel)
    assert kit.model.requests == []
