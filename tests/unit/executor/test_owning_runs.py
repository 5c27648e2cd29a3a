"""Claims, takeovers, fences, duplicates: one run is one run, whoever holds it and however often its command comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.domain.records import JournalEntry, RunFencedError
from shared.errors import UnavailableError
from shared.events.runs import ExecuteRun
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import ASKING, Blocking, command, end_of, hung_run, second
from tests.fakes.storage import InMemoryCollection, InMemoryDatabase


async def test_a_run_that_lost_its_owner_is_continued_and_finished_steps_are_not_executed_again() -> None:
    kit = ExecutorKit(model=Blocking(free=2))
    order = command(kit)
    task = await hung_run(kit, order)
    other = second(kit, ScriptedModel(["from the second executor"]))
    run = await other.execute(order, sequence=7, attempt=2)
    await end_of(task)
    assert run.status == "succeeded"
    assert run.resumed == 1
    assert run.outputs == "from the second executor"
    assert [step.position for step in run.steps] == ["s0", "s1", "s2"]
    assert isinstance(other.model, ScriptedModel)
    assert [request.messages[0].text for request in other.model.requests] == ["Question 2?"]
    assert run.usage.calls == 3


async def test_a_late_writer_is_refused_and_writes_nothing_more() -> None:
    model = ScriptedModel(delay_seconds=0.05)
    kit = ExecutorKit(model=model)
    order = command(kit)
    late = asyncio.create_task(kit.deliver(order, sequence=7))
    await eventually(lambda: len(model.requests) == 2)
    other = second(kit, ScriptedModel(["new owner"]))
    run = await other.execute(order, sequence=7, attempt=2)
    with pytest.raises(RunFencedError):
        await late
    assert len(model.requests) == 2, "the late owner went on after it was fenced"
    assert len(kit.ends()) == 1
    epochs = [entry.epoch for entry in await kit.journal.entries("run-1")]
    assert epochs == sorted(epochs)
    assert run.executor_id == "executor-2"


async def test_a_late_finish_is_refused_and_the_first_end_stays() -> None:
    kit = ExecutorKit(model=Blocking(free=3))
    order = command(kit)
    first = await kit.runs.claim(_claimed(kit, order)) and await kit.runs.get("run-1")
    assert first
    taken = await kit.runs.take_over(first, "executor-2", 7)
    assert taken is not None
    assert taken.epoch == 2
    assert await kit.runs.take_over(first, "executor-3", 7) is None
    run = await second(kit, ScriptedModel()).execute(order, sequence=7, attempt=2)
    with pytest.raises(RunFencedError):
        await kit.runs.finish(first, run)
    with pytest.raises(RunFencedError):
        await kit.runs.finish(taken, run.model_copy(update={"status": "failed"}))
    stored = await kit.runs.get("run-1")
    assert stored is not None
    assert stored.finished == run


def _claimed(kit: ExecutorKit, order: ExecuteRun) -> Any:
    from datetime import UTC, datetime

    from services.executor.domain.records import RunRecord
    from shared.pipeline.loading import load_document

    return RunRecord(
        run_id=order.run_id,
        command_sequence=7,
        command=order,
        pipeline="asking",
        digest=load_document(ASKING).digest,
        domain="general",
        executor_id="executor-1",
        started_at=datetime.now(UTC),
    )


async def test_a_step_that_a_former_owner_finishes_during_the_takeover_is_kept() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    task = await hung_run(kit, order)
    other = second(kit, ScriptedModel(["mine"]))

    class Racing:
        """The former owner writes its step between the reading of the journal and the claim."""

        raced = False

        async def entries(self, run_id: str) -> list[JournalEntry]:
            found = await kit.journal.entries(run_id)
            if not self.raced:
                self.raced = True
                step = found[-1]
                await kit.journal.append(step.model_copy(update={"position": len(found), "path": "s1"}))
            return found

        async def append(self, entry: JournalEntry) -> None:
            await kit.journal.append(entry)

    object.__setattr__(other.executor, "journal", Racing())
    run = await other.execute(order, sequence=7, attempt=2)
    await end_of(task)
    assert run.status == "succeeded"
    assert isinstance(other.model, ScriptedModel)
    assert [request.messages[0].text for request in other.model.requests] == ["Question 2?"]
    kinds = [(entry.kind, entry.path) for entry in await kit.journal.entries("run-1")]
    assert kinds == [("step", "s0"), ("step", "s1"), ("claim", ""), ("step", "s2")]


async def test_an_own_write_that_was_reported_as_failed_is_not_taken_for_anothers() -> None:
    kit = ExecutorKit()

    class Forgetful(InMemoryCollection):
        """Writes, and says the first time that it did not."""

        failed = False

        async def insert_many(self, documents: Any) -> frozenset[str]:
            refused = await super().insert_many(documents)
            if not self.failed:
                self.failed = True
                raise UnavailableError("connection lost after the write")
            return refused

    assert isinstance(kit.database, InMemoryDatabase)
    forgetful = Forgetful()
    kit.database._collections["journal"] = forgetful
    kit.journal._journal = forgetful
    kit.journal._commits._collection = forgetful
    run = await kit.execute(command(kit))
    assert forgetful.failed
    assert run.status == "succeeded"
    assert isinstance(kit.model, ScriptedModel)
    assert len(kit.model.requests) == 3


async def test_another_command_for_a_running_run_is_ignored() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    task = await hung_run(kit, order)
    other = second(kit, ScriptedModel())
    assert await other.deliver(order, sequence=8) is None
    await end_of(task)
    record = await kit.runs.get("run-1")
    assert record is not None
    assert (record.epoch, record.status) == (1, "running")
    assert kit.ends() == []


async def test_a_finished_run_is_told_again_under_the_same_event_id_and_not_run_again() -> None:
    kit = ExecutorKit()
    order = command(kit)
    first = await kit.execute(order)
    again = await second(kit).execute(order)
    redelivered = await second(kit).execute(order, sequence=1, attempt=2)
    assert first == again == redelivered
    ids = {event_id for event_id, fact in kit.announcer.facts if fact == first}
    assert len(ids) == 1
    assert isinstance(kit.model, ScriptedModel)
    assert len(kit.model.requests) == 3


async def test_many_executors_that_get_the_same_run_at_once_run_it_once() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=0.01))
    order = command(kit)
    others = [second(kit) for _ in range(4)]
    found = await asyncio.gather(*(other.deliver(order, sequence=20 + n) for n, other in enumerate(others)))
    assert sum(run is not None for run in found) == 1
    assert isinstance(kit.model, ScriptedModel)
    assert len(kit.model.requests) == 3


async def test_a_duplicate_of_a_trial_is_counted_once_in_its_scope() -> None:
    kit = ExecutorKit()
    order = command(kit)
    await kit.execute(order)
    await kit.execute(order)
    usage = await kit.database.collection("scope_usage").get("scope-1")
    assert usage is not None
    assert usage["runs"] == 1


async def test_a_changed_document_never_resumes_an_old_runs_steps() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    task = await hung_run(kit, order)
    await end_of(task)
    await kit.database.collection("runs").update_if({"_id": "run-1"}, {"$set": {"digest": "0" * 64}})
    model = ScriptedModel()
    run = await second(kit, model).execute(order, sequence=7, attempt=2)
    assert (run.status, run.error_code) == ("refused", "changed_document")
    assert model.requests == []


async def test_a_run_that_keeps_losing_its_owners_is_ended() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    await end_of(await hung_run(kit, order))
    await kit.database.collection("runs").update_if({"_id": "run-1"}, {"$set": {"epoch": 8}})
    run = await second(kit, ScriptedModel()).execute(order, sequence=7, attempt=9)
    assert run.error_code == "limit_reached:takeovers"


async def test_a_stopping_process_leaves_its_runs_to_others() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    await end_of(await hung_run(kit, order))
    record = await kit.runs.get("run-1")
    assert record is not None
    assert record.status == "running"
    assert kit.ends() == []


async def test_run_started_is_told_once_and_before_the_end() -> None:
    kit = ExecutorKit()
    await kit.execute(command(kit))
    assert [type(fact).__name__ for _, fact in kit.announcer.facts] == ["RunStarted", "RunFinished"]
