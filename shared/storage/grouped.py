"""A database whose callers help each other: what many ask for at the same time is one call.

Nothing is remembered: every answer is read after it was asked for, and every write is on disk before it is told."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from shared.storage.collection import Collection, Database, Sort
from shared.storage.group import Group
from shared.storage.group_commit import GroupCommit
from shared.storage.group_read import GroupRead

Document = dict[str, Any]
Question = tuple[Mapping[str, Any], tuple[str, ...]]
"""Filters, and the fields that are wanted."""


class GroupedDatabase:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._collections: dict[str, GroupedCollection] = {}

    def collection(self, name: str) -> GroupedCollection:
        """The same one for all who ask: only they can help each other."""
        if name not in self._collections:
            self._collections[name] = GroupedCollection(self._database.collection(name))
        return self._collections[name]


class GroupedCollection:
    """A `Collection`. Insertions, reads by id and searches for one text in one field are grouped, the others go their own way."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._commits = GroupCommit(collection)
        self._reads = GroupRead(collection)
        self._searches: Group[Question, list[Document]] = Group(self._found)

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        return await self._commits.insert_once(document)

    async def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        return await self._collection.insert_many(documents)

    async def insert_in_order(self, documents: Sequence[Mapping[str, Any]]) -> int:
        return await self._collection.insert_in_order(documents)

    async def get(self, document_id: str) -> Document | None:
        return copy.deepcopy(await self._reads.get(document_id))

    async def find(
        self, filters: Mapping[str, Any], *, sort: Sort = (), limit: int = 0, fields: Sequence[str] = ()
    ) -> list[Document]:
        if sort or limit or _key_of(filters) is None:
            return await self._collection.find(filters, sort=sort, limit=limit, fields=fields)
        return await self._searches.join((filters, tuple(fields)))

    async def count(self, filters: Mapping[str, Any]) -> int:
        return await self._collection.count(filters)

    async def update_if(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        return await self._collection.update_if(filters, update)

    async def update_each(self, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        return await self._collection.update_each(changes)

    async def put(self, document: Mapping[str, Any]) -> None:
        await self._collection.put(document)

    async def delete(self, filters: Mapping[str, Any]) -> int:
        return await self._collection.delete(filters)

    async def ensure_index(self, keys: Sort, *, unique: bool = False, name: str) -> None:
        await self._collection.ensure_index(keys, unique=unique, name=name)

    async def _found(self, questions: Sequence[Question]) -> list[list[Document]]:
        alike: dict[str, list[int]] = {}
        for place, question in enumerate(questions):
            alike.setdefault(_but_for_the_text(question), []).append(place)
        answers: list[list[Document]] = [[] for _ in questions]
        found = await asyncio.gather(*(self._search([questions[place] for place in places]) for places in alike.values()))
        for places, documents in zip(alike.values(), found, strict=True):
            for place in places:
                answers[place] = [_wanted(each, questions[place]) for each in documents if _answers(each, questions[place])]
        return answers

    async def _search(self, alike: Sequence[Question]) -> list[Document]:
        """For questions that differ in the text only."""
        filters, fields = alike[0]
        key = _key_of(filters)
        assert key is not None, "others are not grouped"
        texts = sorted({filters[key] for filters, _ in alike})
        if len(texts) == 1:
            return await self._collection.find(filters, fields=(*fields, key) if fields else ())
        return await self._collection.find({**filters, key: {"$in": texts}}, fields=(*fields, key) if fields else ())


def _key_of(filters: Mapping[str, Any]) -> str | None:
    """The one field that is searched for a text; None where there is none, or more than one."""
    keys = [field for field, wanted in filters.items() if isinstance(wanted, str)]
    return keys[0] if len(keys) == 1 and "." not in keys[0] else None


def _but_for_the_text(question: Question) -> str:
    filters, fields = question
    rest = {field: None if isinstance(wanted, str) else wanted for field, wanted in filters.items()}
    return repr((sorted(rest.items()), fields))


def _answers(document: Document, question: Question) -> bool:
    filters, _ = question
    key = _key_of(filters)
    assert key is not None, "others are not grouped"
    value = document.get(key)
    return filters[key] in value if isinstance(value, list) else bool(value == filters[key])


def _wanted(document: Document, question: Question) -> Document:
    _, fields = question
    names = {"_id", *fields}
    return copy.deepcopy({name: value for name, value in document.items() if name in names} if fields else document)
