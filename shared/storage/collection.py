"""What the services ask of a document store. Documents are plain maps with a string `_id`.

Only operators that both genuine MongoDB and the embedded server answer rightly are offered. Filters: equality on dotted paths,
`$in`, `$lt`, `$lte`, `$gt`, `$gte`, `$ne`, `$exists`, `$or`. Updates: `$set`, `$unset`, `$inc`, `$push` (with `$each`). There is no
find-and-modify on purpose: it scans on the embedded server; claim with `update_if`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shared.errors import PermanentError

Sort = Sequence[tuple[str, int]]
"""(field, 1 ascending or -1 descending), most significant first."""


class DuplicateValueError(PermanentError):
    """A unique index other than the one on `_id` refused a write."""

    code = "duplicate_value"


class DocumentTooLargeError(PermanentError):
    """Above the 16 MiB that the store takes for one document."""

    code = "document_too_large"


class Collection(Protocol):
    """Writes return when a majority has them on disk. Every call raises `UnavailableError` when the store does not answer."""

    async def insert_once(self, document: Mapping[str, Any]) -> bool:
        """False, and nothing written, if the `_id` exists."""
        ...

    async def insert_many(self, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        """Inserts all that can be inserted; returns the `_id`s that existed before and were left alone."""
        ...

    async def insert_in_order(self, documents: Sequence[Mapping[str, Any]]) -> int:
        """Inserts one after the other up to the first whose `_id` exists; returns how many were inserted. Who dies meanwhile has
        inserted the first ones."""
        ...

    async def get(self, document_id: str) -> dict[str, Any] | None: ...

    async def find(
        self, filters: Mapping[str, Any], *, sort: Sort = (), limit: int = 0, fields: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """`limit` 0 means all; `fields` names the top-level fields wanted beside `_id`, none means all."""
        ...

    async def count(self, filters: Mapping[str, Any]) -> int: ...

    async def update_if(self, filters: Mapping[str, Any], update: Mapping[str, Any]) -> bool:
        """Updates one document that matches, atomically; False where none matches."""
        ...

    async def update_each(self, changes: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> int:
        """`update_if` for each (filter, update), in any order, in one call; returns how many matched. One that fails does not
        keep the others from being done."""
        ...

    async def put(self, document: Mapping[str, Any]) -> None:
        """Replaces the document of this `_id`, or inserts it."""
        ...

    async def delete(self, filters: Mapping[str, Any]) -> int:
        """Number of documents removed. An empty filter is refused with `ValueError`."""
        ...

    async def ensure_index(self, keys: Sort, *, unique: bool = False, name: str) -> None: ...


class Database(Protocol):
    def collection(self, name: str) -> Collection: ...
