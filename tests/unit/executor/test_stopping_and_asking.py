"""Stopping runs, and what can be asked about them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from services.executor.domain.records import RunRecord
from services.executor.ports import Stage, Stop
from services.executor.use_cases import PollingCancelWatch, cancel_run, describe_run, finished_runs, list_runs
from shared.clock import SystemClock
from shared.errors import NotFoundError, UnavailableError
from shared.events.runs import CancelRun, FinishedRuns, GetRun, ListRuns
from shared.messaging import envelope
from shared.messaging.topology import MAX_BODY_BYTES
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit, new_id
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import Blocking, command, end_of, hung_run, second


async def test_a_cancelled_run_ends_within_a_second_and_its_call_is_cut_off() -> None:
    model = ScriptedModel(delay_seconds=30)
    kit = ExecutorKit(model=model)
    task = asyncio.create_task(kit.deliver(command(kit)))
    await eventually(lambda: len(model.requests) == 1)
    await cancel_run(CancelRun(run_id="run-1", author="ann", reason="enough"), new_id(), kit.executor)
    async with asyncio.timeout(1):
        run = await task
    assert run is not None
    assert (run.status, run.error) == ("cancelled", "cancelled by ann: enough")
    assert model.cancelled == 1


async def test_cancelling_a_finished_run_changes_nothing() -> None:
    kit = ExecutorKit()
    run = await kit.execute(command(kit))
    await cancel_run(CancelRun(run_id="run-1"), new_id(), kit.executor)
    record = await kit.runs.get("run-1")
    assert record is not None
    assert record.finished == run
    assert await kit.stops.among([record]) == {}


async def test_a_run_that_is_cancelled_before_it_starts_is_stopped_when_it_does() -> None:
    model = ScriptedModel(delay_seconds=30)
    kit = ExecutorKit(model=model)
    await cancel_run(CancelRun(run_id="run-1"), new_id(), kit.executor)
    run = await kit.execute(command(kit))
    assert run.status == "cancelled"


async def test_a_described_run_shows_its_journal() -> None:
    kit = ExecutorKit(model=Blocking(free=2))
    order = command(kit, inputs={"unread": 1})
    await end_of(await hung_run(kit, order))
    described = await describe_run(GetRun(run_id="run-1"), kit.runs, kit.journal)
    assert (described["status"], described["inputs"], described["outputs"]) == ("running", {"unread": 1}, None)
    assert [(step["position"], step["status"], step["value"]) for step in described["steps"]] == [
        ("s0", "ok", "ok"),
        ("s1", "ok", "ok"),
    ]
    await second(kit, ScriptedModel(["end"])).execute(order, sequence=7, attempt=2)
    described = await describe_run(GetRun(run_id="run-1"), kit.runs, kit.journal)
    assert (described["status"], described["outputs"], described["epoch"]) == ("succeeded", "end", 2)
    assert [claim["epoch"] for claim in described["claims"]] == [2]
    with pytest.raises(NotFoundError):
        await describe_run(GetRun(run_id="unknown"), kit.runs, kit.journal)


async def test_a_run_of_more_than_an_answer_holds_is_described_piece_by_piece() -> None:
    kit = ExecutorKit()
    keep = {"type": "set_variable", "variable": "v", "value": "{{ word }}"}
    document = {"name": "long", "steps": [{"name": f"s{n}", **keep} for n in range(30)]}
    await kit.trial(document, inputs={"word": "\u00e4" * 20_000})
    told: list[dict[str, Any]] = []
    answers, total = 0, 1
    while len(told) < total:
        described = await describe_run(GetRun(run_id="run-1", steps_from=len(told)), kit.runs, kit.journal)
        assert len(envelope.success(described)) <= MAX_BODY_BYTES
        told += described["steps"]
        answers, total = answers + 1, described["steps_total"]
    assert [step["position"] for step in told] == [f"s{n}" for n in range(30)]
    assert 1 < answers < 10


async def test_lists_show_finished_runs_and_filter() -> None:
    kit = ExecutorKit()
    for n in range(3):
        await kit.execute(command(kit, f"run-{n}"))
    found = await finished_runs(FinishedRuns(run_ids=("run-0", "run-2", "unknown")), kit.runs)
    assert sorted(run["run_id"] for run in found["runs"]) == ["run-0", "run-2"]
    listed = await list_runs(ListRuns(purpose=None, limit=2), kit.runs)
    assert [run["run_id"] for run in listed["runs"]] == ["run-2", "run-1"]
    assert (await list_runs(ListRuns(), kit.runs))["runs"] == []
    assert len((await list_runs(ListRuns(purpose="trial", status="succeeded", pipeline="asking"), kit.runs))["runs"]) == 3


async def test_finished_runs_answers_what_fits_into_one_message() -> None:
    kit = ExecutorKit(model=ScriptedModel(["x" * 240_000]))
    document = {"name": "large", "steps": [{"name": "s", "type": "claude", "prompt": "?"}], "outputs": {"a": "{{ steps.s.text }}"}}
    for n in range(5):
        run = await kit.execute(command(kit, f"run-{n}", document=document))
        assert run.status == "succeeded"
    found = await finished_runs(FinishedRuns(run_ids=tuple(f"run-{n}" for n in range(5))), kit.runs)
    assert len(found["runs"]) == 3


class NotedScope:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def cancel(self, reason: str, code: str = "cancelled") -> None:
        self.reasons.append(reason)

    def pause(self, reason: str, author: str, grace_seconds: float) -> None:
        self.reasons.append(f"pause for {author}: {reason}")


async def test_a_run_that_begins_in_the_moment_in_which_the_last_one_ends_is_watched_too() -> None:
    kit, scope = ExecutorKit(), NotedScope()
    watch = PollingCancelWatch(kit.stops, SystemClock(), 0.001)
    await kit.stops.request("next", Stop("cancel", "ann", ""), Stage())
    async with watch.watching(record_of(kit, "last"), NotedScope()):
        await asyncio.sleep(0)
    async with watch.watching(record_of(kit, "next"), scope):
        await eventually(lambda: scope.reasons, timeout_seconds=2)


def record_of(kit: ExecutorKit, run_id: str) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        command_sequence=1,
        command=command(kit, run_id),
        pipeline="asking",
        digest="",
        domain="",
        executor_id="executor-1",
        started_at=datetime.now(UTC),
    )


async def test_a_fault_of_the_store_does_not_end_the_watching() -> None:
    class Faulty:
        faults = 2

        async def request(self, run_id: str, stop: Stop, stage: Stage) -> None: ...

        async def meant(self, command_id: str, stage: Stage) -> Stage:
            return stage

        async def among(self, runs: Sequence[RunRecord]) -> dict[str, Stop]:
            if self.faults:
                self.faults -= 1
                raise [UnavailableError("away"), RuntimeError("of no known kind")][self.faults]
            return {run.run_id: Stop("cancel", "ann", "enough") for run in runs}

    scope = NotedScope()
    async with PollingCancelWatch(Faulty(), SystemClock(), 0.001).watching(record_of(ExecutorKit(), "run-1"), scope):
        await eventually(lambda: scope.reasons, timeout_seconds=2)
