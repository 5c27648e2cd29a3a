"""Delegations and the found states of the registry, as documents of the store."""

from __future__ import annotations

from collections.abc import Sequence

from services.guardrail.domain.oversight import Delegation, RegistryNote
from services.guardrail.ports import LostRaceError
from shared.errors import UnavailableError
from shared.storage.collection import Database


class MongoDelegations:
    def __init__(self, database: Database) -> None:
        self._delegations = database.collection("delegations")

    async def open(self, record: Delegation) -> Delegation:
        if await self._delegations.insert_once({"_id": record.delegation_id, **record.model_dump(mode="json")}):
            return record
        stored = await self.get(record.delegation_id)
        if stored is None:
            raise UnavailableError(f"delegation {record.delegation_id} cannot be read back")
        return stored

    async def get(self, delegation_id: str) -> Delegation | None:
        found = await self._delegations.get(delegation_id)
        return Delegation.model_validate(found) if found else None

    async def revoke(self, record: Delegation, at: str) -> Delegation:
        await self._delegations.update_if({"_id": record.delegation_id, "revoked": ""}, {"$set": {"revoked": at}})
        return await self.get(record.delegation_id) or record

    async def between(self, delegator: str, delegate: str) -> Sequence[Delegation]:
        found = await self._delegations.find({"delegator": delegator, "delegate": delegate})
        return [Delegation.model_validate(each) for each in found]

    async def latest(self, limit: int) -> Sequence[Delegation]:
        found = await self._delegations.find({"refused": ""}, sort=[("at", -1)], limit=limit)
        return [Delegation.model_validate(each) for each in found]


class MongoRegistryNotes:
    """One document a found state; whoever inserts a number first has it."""

    def __init__(self, database: Database) -> None:
        self._notes = database.collection("registry_notes")

    async def last(self) -> RegistryNote | None:
        found = await self._notes.find({}, sort=[("number", -1)], limit=1)
        return RegistryNote.model_validate(found[0]) if found else None

    async def add(self, note: RegistryNote) -> None:
        if not await self._notes.insert_once({"_id": f"{note.number:09d}", **note.model_dump(mode="json")}):
            raise LostRaceError(f"change {note.number} of the registry was noted by another process at this moment")
