"""Proposals stand apart until they are judged: what a crash, another process or a former version leaves there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.adapters.freezes import MongoFreezes
from services.guardrail.adapters.mongo import FORGOTTEN_TOGETHER, MongoChanges, MongoDeployments, MongoRevisions
from services.guardrail.adapters.policies import MongoPolicies
from services.guardrail.domain.records import ChangeRecord
from services.guardrail.domain.turns import Turns
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases import Place, propose_change
from shared.events.changes import ChangeApproved, ChangeVetoed, ProposeChange
from shared.events.deployments import PipelineDeployed
from shared.events.message import Message
from shared.events.runs import ExecuteRun, RunFinished
from shared.storage.grouped import GroupedDatabase
from tests.eventually import eventually
from tests.fakes.guardrail import Bench, bench, cases, facts, pipeline, proposal
from tests.fakes.people import signed_proposal
from tests.fakes.storage import InMemoryDatabase
from tests.unit.guardrail.test_decision_cost import CountingDatabase

FIRST, SECOND = pipeline("Say it: {{ text }}"), pipeline("Name it: {{ text }}")


async def proposed(command: ProposeChange, at: Guardrail, sequence: int) -> list[Message]:
    place = Place(f"m{sequence}", sequence)
    return facts(await propose_change(command, at, place=place, signature=signed_proposal(command)))


def another_process(at: Bench) -> Bench:
    return replace(at, at=replace(at.at, changes=MongoChanges(at.database), turns=Turns()))


def grouped(at: Bench, database: InMemoryDatabase) -> Guardrail:
    """As the service puts it together."""
    shared = GroupedDatabase(database)
    return replace(
        at.at,
        changes=MongoChanges(shared),
        revisions=MongoRevisions(shared),
        deployments=MongoDeployments(shared),
        policies=MongoPolicies(shared),
        freeze=MongoFreezes(shared),
        audit=MongoAuditLog(shared),
    )


async def taken_up(at: Bench, change_id: str, sequence: int) -> ChangeRecord:
    """What a process that dies next has stored of a proposal."""
    command = proposal(FIRST, change_id)
    opened = ChangeRecord.opened(command, at.clock.now().isoformat(), signed_proposal(command))
    return await at.at.changes.open(opened.model_copy(update={"cause": f"m{sequence}", "sequence": sequence, "version": 0}))


async def test_what_a_lost_process_took_up_is_judged_before_what_came_after_it() -> None:
    at = bench()
    await taken_up(at, "c1", 1)
    told = await proposed(proposal(SECOND, "c2"), another_process(at).at, 2)
    assert isinstance(told[-1], PipelineDeployed)
    first = await at.at.changes.get("c1")
    assert first is not None
    assert (first.status, first.generation, told[-1].generation) == ("approved", 1, 2)


async def test_what_was_judged_is_not_judged_again_though_it_still_stands_among_the_proposals() -> None:
    at = bench()
    for number in range(1, 4):
        document = pipeline(f"Say {number}: {{{{ text }}}}")
        await proposed(proposal(document, f"c{number}"), at.at, number)
    before = await at.at.changes.get("c1")
    other = another_process(at)
    await proposed(proposal(pipeline("Say 4: {{ text }}"), "c4"), other.at, 4)
    assert await other.at.changes.get("c1") == before
    assert [entry.key for entry in await at.at.audit.entries()].count("change:c1:approved") == 1


async def test_proposals_that_were_judged_are_forgotten() -> None:
    at = bench()
    for number in range(4 * FORGOTTEN_TOGETHER):
        await proposed(proposal(pipeline(name=f"p{number}"), f"c{number}", deploy=False), at.at, number + 1)
    assert await at.database.collection("proposals").count({}) <= FORGOTTEN_TOGETHER + 1
    again = MongoChanges(at.database)
    await again.ensure_indexes()
    await again.open(ChangeRecord.opened(proposal(FIRST, "last"), at.clock.now().isoformat()))
    assert [each["_id"] for each in await at.database.collection("proposals").find({})] == ["last"]


async def test_a_repeat_of_what_was_judged_and_forgotten_is_answered_as_before_and_leaves_nothing() -> None:
    at = bench()
    told = await proposed(proposal(FIRST, "c1"), at.at, 1)
    await at.database.collection("proposals").delete({"_id": "c1"})
    other = another_process(at)
    assert await proposed(proposal(SECOND, "c1"), other.at, 2) == told
    for number in range(FORGOTTEN_TOGETHER):
        await proposed(proposal(pipeline(name=f"p{number}"), f"n{number}", deploy=False), other.at, number + 3)
    assert await at.database.collection("proposals").get("c1") is None


async def test_what_a_former_version_kept_open_among_the_changes_keeps_its_place_and_is_judged_once() -> None:
    at = bench()
    opened = (await taken_up(at, "c1", 1)).model_dump(mode="json")
    await at.database.collection("proposals").delete({"_id": "c1"})
    await at.database.collection("changes").insert_once({"_id": "c1", **opened})
    changes = MongoChanges(at.database)
    await changes.ensure_indexes()
    upgraded = replace(at.at, changes=changes)
    told = await proposed(proposal(SECOND, "c2"), upgraded, 2)
    assert isinstance(told[-1], PipelineDeployed)
    first = await changes.get("c1")
    assert first is not None
    assert (first.status, first.version > 0, told[-1].generation) == ("approved", True, 2)


async def test_two_processes_that_are_given_the_same_proposal_give_one_verdict() -> None:
    at = bench()
    processes = [replace(grouped(at, at.database), turns=Turns()) for _ in range(2)]
    command = proposal(FIRST, "c1")
    answers = await asyncio.gather(*(proposed(command, each, 1) for each in processes), return_exceptions=True)
    told = [each for each in answers if not isinstance(each, BaseException)]
    assert told
    assert all(each == told[0] for each in told)
    assert await proposed(command, at.at, 1) == told[0]
    assert [entry.key for entry in await at.at.audit.entries()].count("change:c1:approved") == 1


async def test_ten_changes_at_once_ask_the_store_hardly_more_often_than_one() -> None:
    database = CountingDatabase()
    at = grouped(bench(database=database), database)
    await proposed(proposal(pipeline(name="earlier"), "earlier"), at, 1)
    costs = []
    for count in (1, 10):
        database.calls.clear()
        commands = [proposal(pipeline(name=f"p{count}_{number}"), f"c{count}_{number}", deploy=False) for number in range(count)]
        told = await asyncio.gather(*(proposed(each, at, count + place) for place, each in enumerate(commands)))
        assert all(isinstance(each[0], ChangeApproved) for each in told)
        costs.append(database.calls.total())
    assert costs[1] <= costs[0] + 2, costs


class HangingFleet:
    """Answers no look before it is let go on; counts those that are under way."""

    def __init__(self) -> None:
        self.under_way = self.most = 0
        self.go_on = asyncio.Event()

    async def run_all(self, commands: Sequence[ExecuteRun], **_: Any) -> dict[str, RunFinished]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.go_on.wait()
        self.under_way -= 1
        return {}


async def test_looks_at_sealed_cases_wait_for_each_other_and_nothing_else_waits_for_them() -> None:
    at, fleet = bench(), HangingFleet()
    await at.register(cases(24))
    names = [f"p{number}" for number in range(3)]
    for name in names:
        await at.propose(pipeline(name=name), f"stable-{name}")
    busy = replace(at, at=replace(at.at, runs=fleet, turns=Turns(looks_at_once=1)))
    promotion: dict[str, Any] = {"kind": "promotion", "author": "evolution", "dataset_id": "tweets", "attempt": 3}
    document = "Name the sentiment of: {{ text }}"
    looks = [asyncio.create_task(busy.propose(pipeline(document, name), f"promote-{name}", **promotion)) for name in names]
    await eventually(lambda: fleet.under_way == 1)
    assert isinstance((await busy.propose(pipeline(name="fresh"), "c1"))[0], ChangeApproved)
    assert (fleet.under_way, fleet.most) == (1, 1)
    fleet.go_on.set()
    assert all(isinstance(each[-1], ChangeVetoed) for each in await asyncio.gather(*looks))
    assert fleet.most == 1
