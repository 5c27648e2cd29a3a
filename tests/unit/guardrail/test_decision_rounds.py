"""What of a decision's calls to the store follows each other, and what is asked at the same time: order and freezes stand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.guardrail.adapters.mongo import MongoChanges
from services.guardrail.domain.records import ChangeRecord
from services.guardrail.domain.turns import Turns
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases import Place, propose_change
from shared.events.changes import ChangeApproved, ChangeVetoed
from shared.events.deployments import PipelineDeployed
from shared.events.message import Message
from tests.fakes.guardrail import Bench, bench, facts, pipeline, proposal
from tests.fakes.people import signed_proposal
from tests.fakes.slow_storage import SlowDatabase
from tests.fakes.virtual_time import run_in_virtual_time

FIRST, SECOND = pipeline("Say it: {{ text }}"), pipeline("Name it: {{ text }}")


async def proposed(at: Guardrail, change_id: str, sequence: int, document: dict[str, Any], **fields: Any) -> list[Message]:
    command = proposal(document, change_id, **fields)
    place = Place(f"m{sequence}", sequence)
    return facts(await propose_change(command, at, place=place, signature=signed_proposal(command)))


async def quiet_bench(database: SlowDatabase) -> Bench:
    """One whose audit log is checked already: that reads the log once a process."""
    at = bench(database=database)
    await proposed(at.at, "earlier", 1, pipeline(name="earlier"))
    return at


@pytest.mark.parametrize(
    ("fields", "rounds"),
    # Stored; what came before it; the verdict; the revision; whether that is quarantined; the audit log. A deployment is two
    # writes more, the deployment's and the change's, and an entry of the log; it and the freeze are read while the verdict is
    # written, one after the other.
    [({"deploy": False}, 6), ({}, 10)],
    ids=["approved and recorded", "approved and deployed"],
)
def test_a_lone_decision_waits_for_the_store_no_more_often_than_it_has_to(fields: dict[str, Any], rounds: int) -> None:
    async def decision() -> float:
        at = await quiet_bench(SlowDatabase())
        begun = asyncio.get_running_loop().time()
        assert isinstance((await proposed(at.at, "c1", 2, pipeline(), **fields))[0], ChangeApproved)
        return asyncio.get_running_loop().time() - begun

    assert run_in_virtual_time(decision()) == rounds


def test_what_another_process_stored_first_is_judged_first_however_short_before() -> None:
    """An insertion takes three seconds, every other call one: a look that did not wait for its own would miss the other."""

    async def race() -> list[Message]:
        at = await quiet_bench(SlowDatabase(lambda call, name: 3.0 if (call, name) == ("insert_once", "proposals") else 1.0))
        opened = ChangeRecord.opened(proposal(FIRST, "c1"), at.clock.now().isoformat(), signed_proposal(proposal(FIRST, "c1")))
        another = MongoChanges(at.database)
        taken_up = asyncio.create_task(another.open(opened.model_copy(update={"cause": "m2", "sequence": 2, "version": 0})))
        await asyncio.sleep(0.5)
        told = await proposed(at.at, "c2", 3, SECOND)
        await taken_up
        first = await at.at.changes.get("c1")
        assert first is not None
        assert (first.status, first.generation) == ("approved", 1)
        return told

    told = run_in_virtual_time(race())
    assert isinstance(told[-1], PipelineDeployed)
    assert told[-1].generation == 2


def test_a_proposal_is_stored_while_it_waits_for_its_turn() -> None:
    async def wait() -> None:
        at = await quiet_bench(SlowDatabase())
        async with at.at.turns.of("triage"):
            waiting = asyncio.create_task(proposed(at.at, "c1", 2, pipeline()))
            await asyncio.sleep(1.5)
            assert await MongoChanges(at.database).get("c1") is not None
            assert not waiting.done()
        assert isinstance((await waiting)[0], ChangeApproved)

    run_in_virtual_time(wait())


@pytest.mark.parametrize("what", ["quarantine", "veto", "deployment"])
def test_nothing_is_older_than_the_beginning_of_the_turn(what: str) -> None:
    """It came while the proposal waited."""

    async def wait() -> list[Message]:
        at = await quiet_bench(SlowDatabase())
        known = await proposed(at.at, "c1", 2, FIRST, deploy=False)
        assert isinstance(known[0], ChangeApproved)
        async with at.at.turns.of("triage"):
            waiting = asyncio.create_task(proposed(at.at, "c2", 3, FIRST))
            await asyncio.sleep(20)
            if what == "quarantine":
                await at.at.revisions.quarantine(known[0].digest, cause="b1", reason="bad", at=at.clock.now().isoformat())
            elif what == "veto":
                await at.database.collection("changes").update_if(
                    {"_id": "c1"}, {"$set": {"status": "vetoed", "bars_digest": True}}
                )
            else:
                other = Bench(**{**vars(at), "at": another_process(at)})
                assert isinstance((await proposed(other.at, "c0", 0, FIRST))[-1], PipelineDeployed)
        return await waiting

    told = run_in_virtual_time(wait())
    assert isinstance(told[0], ChangeVetoed)
    expected = {
        "quarantine": "is quarantined",
        "veto": "was vetoed in change c1",
        "deployment": "this is the stable revision already",
    }
    assert any(expected[what] in each for each in told[0].reasons)


def another_process(at: Bench) -> Guardrail:
    return Guardrail(**{**vars(at.at), "changes": MongoChanges(at.database), "turns": Turns()})


def test_a_failed_look_leaves_the_proposal_stored_in_its_place() -> None:
    """It is judged before what comes after it, as one that was interrupted is."""

    async def fail() -> list[Message]:
        at = await quiet_bench(SlowDatabase(lambda call, name: 3.0 if (call, name) == ("insert_once", "proposals") else 1.0))
        policies = at.database.collection("active_policy")
        active = await policies.get("active")
        await policies.delete({"_id": "active"})
        with pytest.raises(Exception, match="no policy is in force"):
            await proposed(at.at, "c1", 2, FIRST)
        assert active is not None
        await policies.insert_once(active)
        return await proposed(at.at, "c2", 3, SECOND)

    told = run_in_virtual_time(fail())
    assert isinstance(told[-1], PipelineDeployed)
    assert told[-1].generation == 2
