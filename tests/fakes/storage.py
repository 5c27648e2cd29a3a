"""`Collection` in memory, held to MongoDB by `tests/contract/test_storage.py`. Other operators are errors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.storage.collection import DuplicateValueError, Sort
from tests.fakes.storage_index import EqualityIndexes

MISSING = object()
Document = dict[str, Any]


class InMemoryDatabase:
    def __init__(self) -> None:
        self._collections: dict[str, InMemoryCollection] = {}

    def collection(self, name: str) -> InMemoryCollection:
        return self._collections.setdefault(name, InMemoryCollection())


class InMemoryCollection:
    """Documents go in and out as deep copies, so no caller can change what is stored."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._unique: dict[str, tuple[str, ...]] = {}
        self._indexes = EqualityIndexes(_value)

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        if document["_id"] in self._documents:
            return False
        self.store(document)
        return True

    async def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        return frozenset([document["_id"] for document in documents if not await self.insert_once(document)])

    async def insert_in_order(self, documents: Sequence[Mapping[str, Any]]) -> int:
        for done, document in enumerate(documents):
            if not await self.insert_once(document):
                return done
        return len(documents)

    async def get(self, document_id: str) -> Document | None:
        return copy.deepcopy(self._documents.get(document_id))

    async def find(
        self, filters: Mapping[str, Any], *, sort: Sort = (), limit: int = 0, fields: Sequence[str] = ()
    ) -> list[Document]:
        found = [document for document in self._candidates(filters) if matches(document, filters)]
        for field, direction in reversed(list(sort)):
            found.sort(key=lambda document: _rank(_value(document, field)), reverse=direction < 0)
        wanted = {"_id", *fields}
        chosen = found[:limit] if limit else found
        return [copy.deepcopy({k: v for k, v in each.items() if k in wanted} if fields else each) for each in chosen]

    def raw(self) -> Sequence[Mapping[str, Any]]:
        """As they are stored, for a test that looks often: not to be changed."""
        return tuple(self._documents.values())

    async def count(self, filters: Mapping[str, Any]) -> int:
        return len(await self.find(filters))

    async def update_if(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        for document in self._candidates(filters):
            if matches(document, filters):
                self.store(_updated(document, update))
                return True
        return False

    async def update_each(self, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        matched, refused = 0, None
        for filters, update in changes:
            try:
                matched += await self.update_if(filters, update)
            except DuplicateValueError as error:
                refused = error
        if refused is not None:
            raise refused
        return matched

    async def put(self, document: Mapping[str, Any]) -> None:
        self.store(document)

    async def delete(self, filters: Mapping[str, Any]) -> int:
        if not filters:
            raise ValueError("deleting everything is not offered: name what to delete")
        doomed = [document["_id"] for document in await self.find(filters)]
        for document_id in doomed:
            self._indexes.remove(self._documents.pop(document_id), for_good=True)
        return len(doomed)

    async def ensure_index(self, keys: Sort, *, unique: bool = False, name: str) -> None:
        self._indexes.begin(keys[0][0], self._documents.values())
        if unique:
            self._unique[name] = tuple(field for field, _ in keys)

    def store(self, document: Mapping[str, Any]) -> None:
        for name, fields in self._unique.items():
            key = [_value(document, field) for field in fields]
            for other in self._documents.values():
                if other["_id"] != document["_id"] and [_value(other, field) for field in fields] == key:
                    raise DuplicateValueError(f"index {name}: {key}")
        if former := self._documents.get(document["_id"]):
            self._indexes.remove(former, for_good=False)
        stored = copy.deepcopy(dict(document))
        self._documents[document["_id"]] = stored
        self._indexes.add(stored)

    def _candidates(self, filters: Mapping[str, Any]) -> list[Document]:
        ids = self._indexes.ids(filters)
        if ids is None:
            return list(self._documents.values())
        return [self._documents[each] for each in ids if each in self._documents]


def matches(document: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    return all(_holds(document, path, condition) for path, condition in filters.items())


def _holds(document: Mapping[str, Any], path: str, condition: Any) -> bool:
    if path == "$or":
        return any(matches(document, each) for each in condition)
    if path.startswith("$"):
        raise NotImplementedError(path)
    value = _value(document, path)
    if isinstance(condition, Mapping) and any(key.startswith("$") for key in condition):
        return all(_OPERATORS[name](value, operand) for name, operand in condition.items())
    return _equals(value, condition)


def _value(document: Any, path: str) -> Any:
    """Of a list on the way, what stands there in each of its documents."""
    part, _, rest = path.partition(".")
    if isinstance(document, list):
        found = [value for each in document if (value := _value(each, path)) is not MISSING]
        return found or MISSING
    if not isinstance(document, Mapping) or part not in document:
        return MISSING
    return _value(document[part], rest) if rest else document[part]


def _same(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _equals(value: Any, wanted: Any) -> bool:
    if wanted is None:
        return value is MISSING or value is None or (isinstance(value, list) and None in value)
    return _same(value, wanted) or (isinstance(value, list) and any(_same(each, wanted) for each in value))


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(value: Any, operand: Any) -> bool:
        candidates = value if isinstance(value, list) else [value]
        return any(_comparable(each, operand) and compare(each, operand) for each in candidates)

    return holds


def _comparable(value: Any, operand: Any) -> bool:
    """Values of another type are in another bracket and never match a range."""
    numbers = (int, float)
    if isinstance(value, bool) or isinstance(operand, bool):
        return isinstance(value, bool) and isinstance(operand, bool)
    return type(value) is type(operand) or (isinstance(value, numbers) and isinstance(operand, numbers))


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$in": lambda value, operand: any(_equals(value, each) for each in operand),
    "$ne": lambda value, operand: not _equals(value, operand),
    "$exists": lambda value, operand: (value is not MISSING) is bool(operand),
    "$lt": _comparison(lambda value, operand: value < operand),
    "$lte": _comparison(lambda value, operand: value <= operand),
    "$gt": _comparison(lambda value, operand: value > operand),
    "$gte": _comparison(lambda value, operand: value >= operand),
}


def _rank(value: Any) -> tuple[int, Any]:
    """The store's order over types: missing and null, numbers, strings, then the rest."""
    if value is MISSING or value is None:
        return 0, 0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return 1, value
    return (2, value) if isinstance(value, str) else (3, value)


def _updated(document: Document, update: Mapping[str, Any]) -> Document:
    changed = copy.deepcopy(document)
    for operator, fields in update.items():
        for path, operand in fields.items():
            parent, key = _parent(changed, path)
            _APPLY[operator](parent, key, copy.deepcopy(operand))
    return changed


def _parent(document: Document, path: str) -> tuple[Document, str]:
    *way, key = path.split(".")
    for part in way:
        document = document.setdefault(part, {})
    return document, key


def _push(parent: Document, key: str, value: Any) -> None:
    each = value["$each"] if isinstance(value, Mapping) and "$each" in value else [value]
    parent.setdefault(key, []).extend(each)


_APPLY: dict[str, Callable[[Document, str, Any], object]] = {
    "$set": lambda parent, key, value: parent.__setitem__(key, value),
    "$unset": lambda parent, key, _: parent.pop(key, None),
    "$inc": lambda parent, key, value: parent.__setitem__(key, parent.get(key, 0) + value),
    "$push": _push,
}
