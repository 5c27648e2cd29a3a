"""Pause, resume, retry, parking: a run gives its place away and goes on, once, without doing a finished step again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.domain.records import RunRecord
from services.executor.use_cases import cancel_run, describe_run, pause_run, resume_run, retry_run
from shared.errors import InvalidInputError, NotFoundError, ProviderError, UnavailableError
from shared.events.runs import CancelRun, ExecuteRun, GetRun, PauseRun, ResumeRun, RetryRun, RunFinished, RunSuspended
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit, new_id
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import ASKING, command, second

RETRYING = {
    "name": "patient",
    "steps": [
        {"name": "first", "type": "claude", "prompt": "A?", "context": "none"},
        {
            "name": "limited",
            "type": "claude",
            "prompt": "B?",
            "context": "none",
            "retry": {"max_attempts": 2, "initial_seconds": 0.01, "max_seconds": 60},
        },
    ],
}


async def state(kit: ExecutorKit, run_id: str = "run-1") -> RunRecord:
    record = await kit.runs.get(run_id)
    assert record is not None
    return record


async def paused(kit: ExecutorKit, order: ExecuteRun) -> None:
    """Paused while its first call was under way."""
    model = kit.model
    assert isinstance(model, ScriptedModel)
    running = asyncio.create_task(kit.deliver(order, sequence=7))
    await eventually(lambda: model.requests)
    await pause_run(PauseRun(run_id=order.run_id, author="ann", reason="lunch"), new_id(), kit.executor)
    assert await running is None


async def set_going(effects: Any) -> ExecuteRun:
    ((_, order),) = await effects
    assert isinstance(order, ExecuteRun)
    return order


async def test_a_paused_run_ends_its_step_frees_its_place_and_goes_on_elsewhere() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=0.1))
    await paused(kit, command(kit))
    suspended = await state(kit)
    assert (suspended.status, suspended.suspended_for) == ("paused", "lunch")
    assert [(each.verb, each.author) for each in suspended.controls] == [("pause", "ann")]
    assert kit.ends() == []
    (told,) = kit.announcer.of(RunSuspended)
    assert isinstance(told, RunSuspended)
    assert told.status == "paused"
    order = await set_going(resume_run(ResumeRun(run_id="run-1", author="bob"), new_id(), kit.executor))
    other = second(kit)
    run = await other.execute(order, sequence=9)
    assert (run.status, run.resumed, len(run.steps)) == ("succeeded", 0, 3)
    assert isinstance(kit.model, ScriptedModel)
    assert len(kit.model.requests) == 3
    assert [each.verb for each in (await state(kit)).controls] == ["pause", "resume"]


async def test_a_step_longer_than_the_grace_is_cut_off_and_executed_again() -> None:
    model = ScriptedModel(delay_seconds=30)
    kit = ExecutorKit(model=model, pause_grace_seconds=0.05)
    await paused(kit, command(kit))
    assert model.cancelled == 1
    model.delay_seconds = 0
    order = await set_going(resume_run(ResumeRun(run_id="run-1"), new_id(), kit.executor))
    assert (await kit.execute(order, sequence=9)).status == "succeeded"
    assert len(model.requests) == 4


async def test_only_the_resume_goes_on_with_a_paused_run_and_only_once() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=0.05))
    first = command(kit)
    await paused(kit, first)
    assert await kit.deliver(first, sequence=7, attempt=2) is None, "its own command, delivered late"
    assert await kit.deliver(first, sequence=8) is None, "the client's command, sent twice"
    assert (await state(kit)).status == "paused"
    order = await set_going(resume_run(ResumeRun(run_id="run-1"), new_id(), kit.executor))
    one, two = await asyncio.gather(kit.deliver(order, sequence=9), second(kit).deliver(order, sequence=10), return_exceptions=True)
    assert sum(isinstance(each, RunFinished) for each in (one, two)) == 1
    assert await kit.deliver(order, sequence=11) is None
    assert len(kit.ends()) == 1
    assert isinstance(kit.model, ScriptedModel)
    assert len(kit.model.requests) == 3


async def test_the_time_of_a_pause_is_not_the_runs() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=0.05))
    await paused(kit, command(kit))
    await asyncio.sleep(0.5)
    order = await set_going(resume_run(ResumeRun(run_id="run-1"), new_id(), kit.executor))
    run = await kit.execute(order, sequence=9)
    assert (await state(kit)).held_seconds >= 0.5
    assert run.latency_seconds < 0.5


async def test_a_run_that_is_paused_before_it_starts_pauses_when_it_does() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=0.1))
    await pause_run(PauseRun(run_id="run-1"), new_id(), kit.executor)
    assert await kit.deliver(command(kit)) is None
    assert (await state(kit)).status == "paused"


async def test_a_paused_run_can_be_cancelled_and_its_end_is_told() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=0.1))
    await paused(kit, command(kit))
    stop = CancelRun(run_id="run-1", author="ann", reason="over")
    await cancel_run(stop, new_id(), kit.executor)
    await cancel_run(stop, new_id(), kit.executor)
    (end, again) = kit.ends()
    assert end == again
    assert (end.status, end.error, len(end.steps)) == ("cancelled", "cancelled by ann: over", 1)
    assert (await state(kit)).finished == end


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
async def test_what_cannot_be_done_is_refused_with_what_can(verb: str) -> None:
    kit = ExecutorKit()
    await kit.execute(command(kit))
    do: Any = {
        "pause": lambda run_id: pause_run(PauseRun(run_id=run_id), new_id(), kit.executor),
        "resume": lambda run_id: resume_run(ResumeRun(run_id=run_id), new_id(), kit.executor),
        "retry": lambda run_id: retry_run(RetryRun(run_id=run_id), new_id(), kit.executor),
    }[verb]
    with pytest.raises(InvalidInputError, match=rf"cannot {verb} run run-1: its status is succeeded.*fork it"):
        await do("run-1")
    if verb != "pause":
        with pytest.raises(NotFoundError, match="no run 'unknown'"):
            await do("unknown")


def failing_once(position: int) -> ScriptedModel:
    """The call at `position` is refused by the provider for good, the first time."""
    answers: list[Any] = ["ok"] * position
    return ScriptedModel([*answers, ProviderError("server", "no luck"), *["ok"] * 5])


async def test_a_retry_executes_the_failed_step_and_what_follows_and_nothing_else() -> None:
    model = failing_once(1)
    kit = ExecutorKit(model=model)
    first = await kit.execute(command(kit))
    assert (first.status, len(model.requests)) == ("failed", 2)
    order = await set_going(retry_run(RetryRun(run_id="run-1", author="ann", reason="again"), new_id(), kit.executor))
    run = await kit.execute(order, sequence=9)
    assert (run.status, run.retries, len(model.requests)) == ("succeeded", 1, 4)
    assert [step.position for step in run.steps] == ["s1", "s2"]
    assert run.usage.calls == 2
    ids = [event_id for event_id, fact in kit.announcer.facts if isinstance(fact, RunFinished)]
    assert len(set(ids)) == 2, "each end is a fact of its own"
    described = await describe_run(GetRun(run_id="run-1"), kit.runs, kit.journal)
    assert [each["verb"] for each in described["controls"]] == ["retry"]
    assert [(step["position"], step["status"], step["live"]) for step in described["steps"]] == [
        ("s0", "ok", True),
        ("s1", "failed", False),
        ("s1", "ok", True),
        ("s2", "ok", True),
    ]


async def test_a_retry_keeps_finished_iterations_of_a_loop() -> None:
    model = failing_once(3)
    kit = ExecutorKit(model=model)
    inner = [{"name": "ask", "type": "claude", "prompt": "{{ loop.item }}?", "context": "none"}]
    loop = {"name": "each", "type": "for_loop", "items": [1, 2, 3, 4, 5], "steps": inner}
    assert (await kit.execute(command(kit, document={"name": "looping", "steps": [loop]}))).status == "failed"
    order = await set_going(retry_run(RetryRun(run_id="run-1"), new_id(), kit.executor))
    assert (await kit.execute(order, sequence=9)).status == "succeeded"
    assert len(model.requests) == 4 + 2


async def test_a_cancelled_run_can_be_retried_and_is_not_cancelled_again() -> None:
    model = ScriptedModel(delay_seconds=30)
    kit = ExecutorKit(model=model)
    running = asyncio.create_task(kit.deliver(command(kit)))
    await eventually(lambda: model.requests)
    await cancel_run(CancelRun(run_id="run-1"), new_id(), kit.executor)
    await running
    model.delay_seconds = 0.05
    order = await set_going(retry_run(RetryRun(run_id="run-1"), new_id(), kit.executor))
    assert (await kit.execute(order, sequence=9)).status == "succeeded"


async def test_a_retry_whose_executor_is_lost_before_it_claimed_the_journal_still_does_what_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kit = ExecutorKit(model=failing_once(1))
    await kit.execute(command(kit))
    order = await set_going(retry_run(RetryRun(run_id="run-1"), new_id(), kit.executor))

    async def lost(run_id: str) -> None:
        raise UnavailableError("lost")

    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr(kit.journal, "entries", lost)
        await kit.deliver(order, sequence=9)
    assert (await state(kit)).status == "running"
    run = await second(kit).execute(order, sequence=9, attempt=2)
    assert (run.status, run.retries, run.resumed) == ("succeeded", 1, 1)


def limited(times: int, seconds: float) -> ScriptedModel:
    """Answers the first step, then limits the rate `times` times."""
    limits = [ProviderError("rate_limit", "slowly", seconds) for _ in range(times)]
    return ScriptedModel(["ok", *limits, "ok"])


async def test_a_long_wait_frees_the_place_and_a_timer_goes_on_with_the_next_attempt() -> None:
    model = limited(1, 0.3)
    kit = ExecutorKit(model=model, park_after_seconds=0.1)
    assert await kit.deliver(command(kit, document=RETRYING), sequence=7) is None
    waiting = await state(kit)
    assert waiting.status == "waiting"
    order, moment = kit.timers.set["run-1"]
    assert waiting.suspended_until == moment
    assert await kit.deliver(command(kit, document=RETRYING), sequence=7, attempt=2) is None
    await asyncio.sleep(0.3)
    run = await second(kit).execute(order, sequence=9)
    assert (run.status, [step.attempts for step in run.steps]) == ("succeeded", [1, 2])
    assert len(model.requests) == 3
    assert await kit.deliver(order, sequence=10) is None, "a timer that fires twice"


async def test_attempts_go_on_where_they_were() -> None:
    kit = ExecutorKit(model=limited(2, 0.3), park_after_seconds=0.1)
    await kit.deliver(command(kit, document=RETRYING))
    await asyncio.sleep(0.3)
    run = await kit.execute(kit.timers.set["run-1"][0], sequence=9)
    assert (run.status, run.error_code, run.steps[-1].attempts) == ("failed", "provider", 2)


async def test_an_owner_lost_while_it_parked_a_run_costs_no_early_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    model = limited(1, 0.3)
    kit = ExecutorKit(model=model, park_after_seconds=0.1)

    async def lost(*_: object) -> bool:
        raise UnavailableError("lost")

    order = command(kit, document=RETRYING)
    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr(kit.runs, "change", lost)
        await kit.deliver(order, sequence=7)
    other = second(kit)
    other.park_after_seconds = kit.park_after_seconds
    other.__post_init__()
    assert await other.deliver(order, sequence=7, attempt=2) is None
    assert (await state(kit)).status == "waiting"
    assert len(model.requests) == 2


async def test_a_waiting_run_can_be_paused_resumed_or_cancelled() -> None:
    for last in ("pause", "resume", "cancel"):
        kit = ExecutorKit(model=limited(1, 0.4), park_after_seconds=0.1)
        await kit.deliver(command(kit, document=RETRYING))
        wake, _ = kit.timers.set["run-1"]
        if last == "pause":
            await pause_run(PauseRun(run_id="run-1"), new_id(), kit.executor)
            assert await kit.deliver(wake, sequence=9) is None
            assert (await state(kit)).status == "paused"
        elif last == "resume":
            order = await set_going(resume_run(ResumeRun(run_id="run-1"), new_id(), kit.executor))
            assert (await kit.deliver(order, sequence=9)) is None, "it is still too early for the next attempt"
            assert (await state(kit)).status == "waiting"
        else:
            await cancel_run(CancelRun(run_id="run-1"), new_id(), kit.executor)
            assert await kit.deliver(wake, sequence=9) is None
            assert kit.ends()[0].status == "cancelled"


async def test_nested_runs_pause_with_what_they_belong_to() -> None:
    model = ScriptedModel(delay_seconds=0.4)
    kit = ExecutorKit(model=model, pause_grace_seconds=0.05)
    nested = {"name": "outer", "steps": [{"name": "inner", "type": "pipeline", "pipeline": ASKING}]}
    await paused(kit, command(kit, document=nested))
    child = next(run_id for run_id in (await children(kit)) if run_id != "run-1")
    with pytest.raises(InvalidInputError, match="runs inside run run-1"):
        await pause_run(PauseRun(run_id=child), new_id(), kit.executor)
    model.delay_seconds = 0
    order = await set_going(resume_run(ResumeRun(run_id="run-1"), new_id(), kit.executor))
    assert (await kit.execute(order, sequence=9)).status == "succeeded"


async def children(kit: ExecutorKit) -> list[str]:
    return [each["_id"] for each in await kit.database.collection("runs").find({})]
