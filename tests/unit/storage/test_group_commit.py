"""Group commit: many writers, few writes, each writer told its own truth."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from shared.errors import UnavailableError
from shared.storage.group_commit import GroupCommit
from shared.storage.group_read import GroupRead
from tests.fakes.storage import InMemoryCollection


class SlowCollection(InMemoryCollection):
    """A write takes a moment, and its size is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.fault: Exception | None = None

    async def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        self.batches.append(len(documents))
        await asyncio.sleep(0.01)
        if self.fault:
            raise self.fault
        return await super().insert_many(documents)


async def test_a_lone_write_goes_out_at_once() -> None:
    collection = SlowCollection()
    assert await GroupCommit(collection).insert_once({"_id": "a"})
    assert collection.batches == [1]


async def test_writes_that_wait_at_the_same_time_become_one() -> None:
    collection = SlowCollection()
    commits = GroupCommit(collection)
    written = await asyncio.gather(*(commits.insert_once({"_id": str(n)}) for n in range(50)))
    assert all(written)
    assert sum(collection.batches) == 50
    assert len(collection.batches) <= 2


async def test_batches_are_bounded() -> None:
    collection = SlowCollection()
    commits = GroupCommit(collection, max_batch=8)
    await asyncio.gather(*(commits.insert_once({"_id": str(n)}) for n in range(50)))
    assert max(collection.batches) == 8
    assert await collection.count({}) == 50


async def test_duplicates_are_told_to_their_own_writer_only() -> None:
    collection = SlowCollection()
    await collection.insert_once({"_id": "3", "old": True})
    commits = GroupCommit(collection)
    written = await asyncio.gather(*(commits.insert_once({"_id": str(n)}) for n in range(6)))
    assert written == [True, True, True, False, True, True]
    assert await collection.get("3") == {"_id": "3", "old": True}


async def test_of_two_writers_of_one_id_exactly_the_first_wins() -> None:
    collection = SlowCollection()
    commits = GroupCommit(collection)
    written = await asyncio.gather(*(commits.insert_once({"_id": "same", "n": n}) for n in range(4)))
    assert written == [True, False, False, False]
    assert await collection.get("same") == {"_id": "same", "n": 0}


async def test_a_fault_reaches_every_writer_of_the_batch_and_the_next_batch_works() -> None:
    collection = SlowCollection()
    commits = GroupCommit(collection)
    collection.fault = UnavailableError("down")
    failures = await asyncio.gather(*(commits.insert_once({"_id": str(n)}) for n in range(3)), return_exceptions=True)
    assert all(isinstance(failure, UnavailableError) for failure in failures)
    collection.fault = None
    assert await commits.insert_once({"_id": "after"})


async def test_a_writer_that_gives_up_does_not_disturb_the_others() -> None:
    collection = SlowCollection()
    commits = GroupCommit(collection)
    impatient = asyncio.create_task(commits.insert_once({"_id": "impatient"}))
    patient = asyncio.create_task(commits.insert_once({"_id": "patient"}))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient
    with pytest.raises(asyncio.CancelledError):
        await impatient


class SlowReads(InMemoryCollection):
    def __init__(self) -> None:
        super().__init__()
        self.queries = 0

    async def get(self, document_id: str) -> dict[str, Any] | None:
        self.queries += 1
        found = await super().get(document_id)
        await asyncio.sleep(0.01)
        return found

    async def find(self, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        self.queries += 1
        found = await super().find(*arguments, **options)
        await asyncio.sleep(0.01)
        return found


async def test_reads_that_wait_at_the_same_time_become_one_query() -> None:
    collection = SlowReads()
    await collection.insert_many([{"_id": str(n), "n": n} for n in range(5)])
    reads = GroupRead(collection)
    found = await asyncio.gather(*(reads.get(str(n % 7)) for n in range(30)))
    assert [document["n"] if document else None for document in found[:7]] == [0, 1, 2, 3, 4, None, None]
    assert collection.queries <= 2


async def test_a_read_never_answers_from_before_it_was_asked() -> None:
    collection = SlowReads()
    await collection.put({"_id": "stable", "digest": "old"})
    reads = GroupRead(collection)
    early = asyncio.create_task(reads.get("stable"))
    await asyncio.sleep(0.005)
    await collection.put({"_id": "stable", "digest": "new"})
    late = await reads.get("stable")
    assert late == {"_id": "stable", "digest": "new"}
    assert await early == {"_id": "stable", "digest": "old"}


class PickyCollection(SlowCollection):
    """Refuses a whole batch for one document, as a driver does that cannot encode it."""

    async def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        if any(document.get("poison") for document in documents):
            raise ValueError("cannot be encoded")
        return await super().insert_many(documents)


async def test_a_document_that_cannot_be_written_fails_its_own_writer_only() -> None:
    commits = GroupCommit(PickyCollection())
    documents = [{"_id": str(n), "poison": n == 3} for n in range(6)]
    written = await asyncio.gather(*(commits.insert_once(document) for document in documents), return_exceptions=True)
    assert [each for n, each in enumerate(written) if n != 3] == [True] * 5
    assert isinstance(written[3], ValueError)


async def test_updates_that_wait_at_the_same_time_become_one() -> None:
    collection = CountedUpdates()
    await collection.insert_many([{"_id": str(n), "epoch": 1} for n in range(20)])
    commits = GroupCommit(collection)
    sure = await asyncio.gather(
        *(commits.surely_updated({"_id": str(n), "epoch": 1}, {"$set": {"status": "done"}}) for n in range(20))
    )
    assert all(sure)
    assert await collection.count({"status": "done"}) == 20
    assert len(collection.update_batches) <= 2


async def test_an_update_beside_one_that_does_not_match_is_done_but_not_sure() -> None:
    collection = CountedUpdates()
    await collection.insert_many([{"_id": "a", "epoch": 1}, {"_id": "b", "epoch": 2}])
    commits = GroupCommit(collection)
    sure = await asyncio.gather(
        *(commits.surely_updated({"_id": name, "epoch": 1}, {"$set": {"status": "done"}}) for name in ("a", "b"))
    )
    assert sum(collection.update_batches) == 2
    assert not sure[1]
    assert [each["_id"] for each in await collection.find({"status": "done"})] == ["a"]


class CountedUpdates(InMemoryCollection):
    def __init__(self) -> None:
        super().__init__()
        self.update_batches: list[int] = []

    async def update_each(self, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        self.update_batches.append(len(changes))
        await asyncio.sleep(0.01)
        return await super().update_each(changes)
