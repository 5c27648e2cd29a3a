"""What goes wrong around a takeover: commands that come again in odd ways, ends that cannot be stored, owners that die in turns."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.executor.domain.delivery import CommandDelivery
from services.executor.domain.records import RunFencedError
from services.executor.use_cases import execute_run
from shared.errors import InvalidInputError
from shared.events.runs import ExecuteRun, RunFinished, RunStarted
from shared.storage.collection import DocumentTooLargeError
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit, SilentRunObserver
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import Blocking, command, end_of, hung_run, second
from tests.fakes.storage import InMemoryCollection, InMemoryDatabase

NESTING = {"name": "outer", "steps": [{"name": "nest", "type": "pipeline", "pipeline": "inner"}]}
INNER = {
    "name": "inner",
    "steps": [{"name": f"s{n}", "type": "claude", "prompt": f"Inner {n}?", "context": "none"} for n in range(2)],
}


async def redrive(kit: ExecutorKit, order: ExecuteRun, sequence: int, attempt: int = 1) -> RunFinished | None:
    return await execute_run(order, CommandDelivery(sequence=sequence, attempt=attempt, redriven=True), kit.executor)


async def test_a_run_id_that_is_used_for_something_else_is_refused_and_the_run_stays_as_it_is() -> None:
    kit = ExecutorKit()
    order = command(kit)
    first = await kit.execute(order)
    other = order.model_copy(update={"inputs": {"word": "changed"}, "seed": 3})
    with pytest.raises(InvalidInputError, match="another inputs, seed"):
        await kit.execute(other)
    assert await kit.execute(order.model_copy(update={"group_id": "again"})) == first


async def test_two_redriven_commands_for_one_run_do_not_take_it_from_each_other_in_turns() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    lost = await hung_run(kit, order)
    older, newer = second(kit, Blocking(free=0)), second(kit, ScriptedModel(["from the newer"], delay_seconds=0.05))
    waiting = asyncio.create_task(redrive(older, order, 20))
    await eventually(lambda: isinstance(older.model, Blocking) and older.model.requests)
    working = asyncio.create_task(redrive(newer, order, 21))
    await eventually(lambda: isinstance(newer.model, ScriptedModel) and newer.model.requests)
    assert await redrive(second(kit, ScriptedModel(["stolen"])), order, 20, attempt=2) is None
    run = await working
    assert run is not None
    assert (run.outputs, run.resumed) == ("from the newer", 2)
    for task in (lost, waiting):
        await end_of(task)


async def test_a_redriven_command_that_was_lost_before_it_took_the_run_over_still_does_when_it_comes_again() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    await end_of(await hung_run(kit, order))
    run = await redrive(second(kit, ScriptedModel()), order, 30, attempt=3)
    assert run is not None
    assert run.status == "succeeded"


async def test_a_parent_that_runs_its_children_itself_continues_one_that_was_begun_over_the_bus() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    for document in (NESTING, INNER):
        await kit.notary.deploy(kit.guardrail, document)
    parent = ExecuteRun(run_id="run-1", pipeline="outer")
    lost = await hung_run(kit, parent)
    runs = await kit.database.collection("runs").find({"parent_run_id": "run-1"})
    await kit.database.collection("runs").update_if({"_id": runs[0]["_id"]}, {"$set": {"command_sequence": 99}})
    heir = second(kit, ScriptedModel(["done"]))
    run = await heir.execute(parent, sequence=7, attempt=2)
    await end_of(lost)
    assert (run.status, run.outputs) == ("succeeded", "done")
    assert isinstance(heir.model, ScriptedModel)
    assert [request.messages[0].text for request in heir.model.requests] == ["Inner 1?"]


async def test_a_step_that_cannot_be_journaled_ends_its_run_and_leaves_nobody_waiting() -> None:
    kit = ExecutorKit()

    class Full(InMemoryCollection):
        async def insert_many(self, documents: Any) -> frozenset[str]:
            if any(document["path"] == "s1" for document in documents):
                raise DocumentTooLargeError("above 16 MiB")
            return await super().insert_many(documents)

    assert isinstance(kit.database, InMemoryDatabase)
    kit.database._collections["journal"] = Full()
    run = await second(kit).execute(command(kit))
    assert (run.status, run.error_code, run.error) == ("failed", "document_too_large", "above 16 MiB")
    assert [step.position for step in run.steps] == ["s0"]
    record = await kit.runs.get("run-1")
    assert record is not None
    assert record.finished == run


async def lost_after_one_step(kit: ExecutorKit, order: ExecuteRun, attempt: int) -> None:
    model = Blocking(free=1)
    heir = second(kit, model)
    object.__setattr__(heir.executor, "max_takeovers", 2)
    task = asyncio.create_task(heir.deliver(order, sequence=7, attempt=attempt))
    await eventually(lambda: len(model.requests) == 2)
    await end_of(task)


async def test_owners_that_are_lost_one_after_another_do_not_end_a_run_that_moves_on() -> None:
    steps = [{"name": f"s{n}", "type": "claude", "prompt": f"Question {n}?", "context": "none"} for n in range(6)]
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit, document={"name": "long", "steps": steps})
    await end_of(await hung_run(kit, order))
    for attempt in range(2, 6):
        await lost_after_one_step(kit, order, attempt)
    last = second(kit, ScriptedModel())
    object.__setattr__(last.executor, "max_takeovers", 2)
    run = await last.execute(order, sequence=7, attempt=6)
    assert (run.status, run.resumed) == ("succeeded", 5)


async def test_a_run_that_was_lost_before_it_could_be_told_as_started_is_told_so_by_its_next_owner() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    await end_of(await hung_run(kit, order))
    told = kit.starts()
    kit.announcer.facts.clear()
    heir = second(kit, ScriptedModel())
    await heir.execute(order, sequence=7, attempt=2)
    assert kit.starts() == told
    assert [type(fact) for _, fact in kit.announcer.facts] == [RunStarted, RunFinished]


@dataclass
class CountingObserver(SilentRunObserver):
    ends: Counter[str] = field(default_factory=Counter)

    def finished(self, purpose: str, status: str, seconds: float) -> None:
        self.ends[status] += 1


async def test_an_end_that_is_told_again_is_counted_once_and_two_ends_are_counted_as_two() -> None:
    kit, observer = ExecutorKit(), CountingObserver()
    object.__setattr__(kit.executor, "observer", observer)
    await kit.execute(command(kit), sequence=1)
    await kit.execute(command(kit), sequence=1, attempt=2)
    await kit.execute(command(kit), sequence=2)
    assert observer.ends == {"succeeded": 1}
    await kit.execute(command(kit, "run-2"))
    assert observer.ends == {"succeeded": 2}


async def test_an_own_end_that_holds_a_value_which_is_no_number_is_not_taken_for_anothers() -> None:
    kit = ExecutorKit()
    order = command(kit)
    run = await kit.execute(order)
    record = await kit.runs.get("run-1")
    assert record is not None
    await kit.database.collection("runs").update_if({"_id": "run-1"}, {"$set": {"status": "running"}})
    odd = run.model_copy(update={"outputs": {"mean": math.nan, "pair": (1, 2)}})
    await kit.runs.finish(record, odd)
    await kit.runs.finish(record, odd)
    with pytest.raises(RunFencedError):
        await kit.runs.finish(record, run)


async def test_a_folder_that_a_lost_owner_left_behind_goes_when_the_run_is_told_again() -> None:
    kit = ExecutorKit()
    order = command(kit)
    await kit.execute(order, sequence=1)
    folder = kit.executor.services.workspace_dir / "run-1"
    folder.mkdir(parents=True)
    await kit.execute(order, sequence=1, attempt=2)
    assert not folder.exists()


async def test_a_delivery_that_lay_in_the_buffers_of_a_stalled_process_does_not_take_the_run_from_its_new_owner() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    order = command(kit)
    owner = asyncio.create_task(kit.deliver(order, sequence=7, attempt=2))
    await eventually(lambda: isinstance(kit.model, Blocking) and len(kit.model.requests) == 2)
    with pytest.raises(RunFencedError, match="later delivery"):
        await second(kit, ScriptedModel()).deliver(order, sequence=7, attempt=1)
    record = await kit.runs.get("run-1")
    assert record is not None
    assert record.epoch == 1
    await end_of(owner)
    run = await second(kit, ScriptedModel()).execute(order, sequence=7, attempt=2)
    assert run.status == "succeeded"
