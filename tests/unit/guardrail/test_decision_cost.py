"""What a decision asks of the store: calls are what it takes its time with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from services.guardrail.use_cases import Place, freeze_system, propose_change
from shared.events.changes import ChangeApproved
from shared.events.recovery import FreezeSystem
from tests.fakes.guardrail import Bench, bench, facts, pipeline, proposal
from tests.fakes.storage import InMemoryCollection, InMemoryDatabase

READS = ("get", "find", "count")
WRITES = ("insert_once", "insert_many", "insert_in_order", "update_if", "update_each", "put", "delete")


class CountingDatabase(InMemoryDatabase):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.documents = 0
        """Whole documents of pipelines among what was read."""
        self._is_inside = False

    def collection(self, name: str) -> InMemoryCollection:
        if name not in self._collections:
            self._collections[name] = self._counted(InMemoryCollection())
        return self._collections[name]

    def _counted(self, collection: InMemoryCollection) -> InMemoryCollection:
        for kind, names in (("read", READS), ("write", WRITES)):
            for name in names:
                setattr(collection, name, self._counting(getattr(collection, name), kind))
        return collection

    def _counting(self, call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        async def counted(*given: Any, **named: Any) -> Any:
            if self._is_inside:
                return await call(*given, **named)
            self.calls[kind] += 1
            # The fake does some calls by others, and none of them waits.
            self._is_inside = True
            answer = await call(*given, **named)
            self._is_inside = False
            rows = answer if isinstance(answer, list) else [answer]
            self.documents += sum(isinstance(row, dict) and bool(row.get("document")) for row in rows)
            return answer

        return counted


async def quiet_bench() -> tuple[Bench, CountingDatabase]:
    """One whose audit log is checked already: that reads the log once a process."""
    database = CountingDatabase()
    at = bench(database=database)
    await at.propose(pipeline(name="earlier"), "earlier")
    database.calls.clear()
    return at, database


@pytest.mark.parametrize(
    ("fields", "reads", "writes"),
    [({"deploy": False}, 7, 4), ({}, 9, 7)],
    ids=["approved and recorded", "approved and deployed"],
)
async def test_a_decision_asks_the_store_no_more_than_it_has_to(fields: dict[str, Any], reads: int, writes: int) -> None:
    at, database = await quiet_bench()
    await at.propose(pipeline(), **fields)
    assert dict(database.calls) == {"read": reads, "write": writes}


async def test_a_repeat_of_what_was_only_stored_is_answered_as_before_whatever_came_since() -> None:
    at, _ = await quiet_bench()
    told = await at.propose(pipeline(), deploy=False)
    approved = told[0]
    assert isinstance(approved, ChangeApproved)
    command = proposal(pipeline(), "c1", deploy=False)
    freeze = FreezeSystem.model_validate({"freeze_id": "f1", "reason": "incident", "author": "alice", "scope": "all"})
    await freeze_system(freeze, at.at)
    assert facts(await propose_change(command, at.at)) == told
    await at.at.revisions.quarantine(approved.digest, cause="b1", reason="bad", at=at.clock.now().isoformat())
    assert facts(await propose_change(command, at.at)) == told


async def test_a_proposal_during_a_freeze_costs_the_same_however_many_wait_before_it() -> None:
    at, database = await quiet_bench()
    freeze = FreezeSystem.model_validate({"freeze_id": "f1", "reason": "incident", "author": "alice", "scope": "all"})
    await freeze_system(freeze, at.at)
    costs = []
    for number in range(1, 31):
        database.calls.clear()
        database.documents = 0
        await propose_change(proposal(pipeline(), f"h{number}"), at.at, place=Place(f"m{number}", number))
        costs.append((database.calls.total(), database.documents))
    assert costs[1] == costs[-1]
    assert [each.change_id for each in await at.at.changes.held(100)] == [f"h{number}" for number in range(1, 31)]
