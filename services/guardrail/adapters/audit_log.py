"""The audit log in the store: one document an entry, its place taken by inserting the next number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.guardrail.domain.audit import GENESIS, AuditEntry, AuditNote, chained
from shared.errors import UnavailableError
from shared.storage.collection import Database

_HEAD = "head"
_TRIES = 1000
"""A try is lost only when another writer took the number, so the log grew meanwhile."""


class MongoAuditLog:
    """Several processes may append at once: whoever inserts a number first has it, the others chain behind."""

    def __init__(self, database: Database) -> None:
        self._entries = database.collection("audit")
        self._heads = database.collection("audit_head")
        self._last: tuple[int, str] | None = None

    async def ensure_indexes(self) -> None:
        await self._entries.ensure_index([("key", 1)], name="key")

    async def append(self, note: AuditNote) -> AuditEntry:
        if former := await self.find(note.key):
            return former
        for _ in range(_TRIES):
            sequence, chain = await self._end()
            entry = chained(note, sequence + 1, chain)
            if await self._entries.insert_once({"_id": _name(entry.sequence), **entry.model_dump(mode="json")}):
                await self._remember(entry)
                return entry
        raise UnavailableError("the audit log grows faster than this process can append")

    async def find(self, key: str) -> AuditEntry | None:
        found = await self._entries.find({"key": key}, limit=1)
        return _entry(found[0]) if found else None

    async def entries(self) -> Sequence[AuditEntry]:
        return [_entry(each) for each in await self._entries.find({}, sort=[("_id", 1)])]

    async def head(self) -> tuple[int, str]:
        """(length, chain hash) as noted beside the log; what a check of the whole log is compared with."""
        found = await self._heads.get(_HEAD)
        return (found["sequence"], found["chain_hash"]) if found else (0, GENESIS)

    async def _end(self) -> tuple[int, str]:
        """The last entry. Starts from the noted head, which is a hint only, and walks on over what others added."""
        sequence, chain = self._last or await self.head()
        while found := await self._entries.get(_name(sequence + 1)):
            sequence, chain = found["sequence"], found["chain_hash"]
        self._last = (sequence, chain)
        return sequence, chain

    async def _remember(self, entry: AuditEntry) -> None:
        self._last = (entry.sequence, entry.chain_hash)
        fields = {"sequence": entry.sequence, "chain_hash": entry.chain_hash}
        if not await self._heads.insert_once({"_id": _HEAD, **fields}):
            await self._heads.update_if({"_id": _HEAD, "sequence": {"$lt": entry.sequence}}, {"$set": fields})


def _name(sequence: int) -> str:
    """Sorts as it counts."""
    return f"{sequence:012d}"


def _entry(document: dict[str, Any]) -> AuditEntry:
    return AuditEntry.model_validate({name: value for name, value in document.items() if name != "_id"})
