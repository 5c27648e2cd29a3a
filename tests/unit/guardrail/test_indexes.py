"""Which questions about changes the store answers by an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.guardrail.adapters.mongo import MongoChanges
from shared.storage.collection import Sort
from tests.fakes.guardrail import bench, pipeline
from tests.fakes.storage import Document, InMemoryCollection, InMemoryDatabase


class _Watched(InMemoryCollection):
    def __init__(self) -> None:
        super().__init__()
        self.indexed = {"_id"}
        self.scans: list[Mapping[str, Any]] = []
        """Searches that no index narrows."""

    async def ensure_index(self, keys: Sort, *, unique: bool = False, name: str) -> None:
        self.indexed.add(keys[0][0])
        await super().ensure_index(keys, unique=unique, name=name)

    async def find(
        self, filters: Mapping[str, Any], *, sort: Sort = (), limit: int = 0, fields: Sequence[str] = ()
    ) -> list[Document]:
        # What something is not narrows nothing.
        narrowing = {field for field, wanted in filters.items() if not (isinstance(wanted, Mapping) and "$ne" in wanted)}
        if not narrowing & self.indexed:
            self.scans.append(filters)
        return await super().find(filters, sort=sort, limit=limit, fields=fields)


class WatchedDatabase(InMemoryDatabase):
    def collection(self, name: str) -> InMemoryCollection:
        return self._collections.setdefault(name, _Watched())

    def forget_scans(self) -> None:
        for each in self._collections.values():
            if isinstance(each, _Watched):
                each.scans.clear()

    def scans(self) -> list[Mapping[str, Any]]:
        """Of what `MongoChanges` keeps."""
        found = [self.collection(name) for name in ("changes", "proposals")]
        return [filters for each in found if isinstance(each, _Watched) for filters in each.scans]


async def test_what_is_asked_in_rounds_or_by_pipelines_looks_through_no_other_changes() -> None:
    database = WatchedDatabase()
    at = bench(database=database)
    changes = MongoChanges(database)
    await changes.ensure_indexes()
    database.forget_scans()
    await at.propose(pipeline(limits={"calls": 500}), "c1")
    await at.decide("c1", "comment", comment="why so many?")
    record = await changes.get("c1")
    assert record is not None
    for ask in (changes.queued, changes.untold, changes.with_broken_glass, changes.held):
        await ask(10)
    assert [each.change_id for each in await changes.decided_by_people(10)] == ["c1"]
    await changes.barring(record.digest)
    await changes.earlier(record)
    assert database.scans() == []
