"""Notes that the closed audit log did not take: one document each, until the log has it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from services.guardrail.domain.audit import AuditNote
from shared.storage.collection import Database


class MongoLateNotes:
    def __init__(self, database: Database) -> None:
        self._notes = database.collection("late_audit_notes")

    async def keep(self, note: AuditNote, at: str) -> AuditNote:
        await self._notes.insert_once({"_id": _id(note.key), "kept_at": at, "note": note.model_dump(mode="json")})
        return await self.find(note.key) or note

    async def find(self, key: str) -> AuditNote | None:
        found = await self._notes.get(_id(key))
        return AuditNote.model_validate(found["note"]) if found else None

    async def all(self) -> Sequence[tuple[AuditNote, str]]:
        found = await self._notes.find({}, sort=[("kept_at", 1), ("_id", 1)])
        return [(AuditNote.model_validate(each["note"]), str(each["kept_at"])) for each in found]

    async def remove(self, key: str) -> None:
        await self._notes.delete({"_id": _id(key)})


def _id(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
