"""Which documents of `InMemoryCollection` a search looks at: an index narrows a search for one text, and changes no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Value = Callable[[Any, str], Any]


class EqualityIndexes:
    """Texts by field, nested ones by their path. A document with a list is found by each text in it, as the store does it."""

    def __init__(self, value: Value) -> None:
        """`value(document, path)`: what stands there."""
        self._value = value
        self._fields: dict[str, dict[str, set[str]]] = {}
        self._places: dict[str, int] = {}
        """By document id: in which order documents came."""
        self._came = 0

    def begin(self, field: str, documents: Iterable[Mapping[str, Any]]) -> None:
        if field in self._fields:
            return
        self._fields[field] = {}
        for document in documents:
            self._enter(field, document)

    def add(self, document: Mapping[str, Any]) -> None:
        if document["_id"] not in self._places:
            self._came += 1
            self._places[document["_id"]] = self._came
        for field in self._fields:
            self._enter(field, document)

    def remove(self, document: Mapping[str, Any], *, for_good: bool) -> None:
        if for_good:
            del self._places[document["_id"]]
        for field, texts in self._fields.items():
            for text in self._texts(document, field):
                texts[text].discard(document["_id"])

    def ids(self, filters: Mapping[str, Any]) -> list[str] | None:
        """Those among which all that match are, as they came; None where any document may match."""
        wanted = filters.get("_id")
        if isinstance(wanted, str):
            return [wanted]
        if isinstance(wanted, Mapping) and set(wanted) == {"$in"} and all(isinstance(each, str) for each in wanted["$in"]):
            return self._in_order(wanted["$in"])
        for field, texts in self._fields.items():
            if isinstance(filters.get(field), str):
                return self._in_order(texts.get(filters[field], ()))
        return None

    def _in_order(self, ids: Iterable[str]) -> list[str]:
        return sorted((each for each in set(ids) if each in self._places), key=self._places.__getitem__)

    def _enter(self, field: str, document: Mapping[str, Any]) -> None:
        for text in self._texts(document, field):
            self._fields[field].setdefault(text, set()).add(document["_id"])

    def _texts(self, document: Mapping[str, Any], field: str) -> list[str]:
        value = self._value(document, field)
        return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
