"""Policies as documents of the store."""

from __future__ import annotations

from collections.abc import Sequence

from services.guardrail.domain.policies import ActivePolicy, PolicyRecord
from shared.errors import UnavailableError
from shared.storage.collection import Database

_ACTIVE = "active"


class MongoPolicies:
    def __init__(self, database: Database) -> None:
        self._policies = database.collection("policies")
        self._active = database.collection("active_policy")

    async def add(self, record: PolicyRecord) -> PolicyRecord:
        await self._policies.insert_once({"_id": record.revision, **record.model_dump(mode="json")})
        stored = await self.get(record.revision)
        if stored is None:
            raise UnavailableError(f"policy {record.revision[:12]} cannot be read back")
        return stored

    async def get(self, revision: str) -> PolicyRecord | None:
        found = await self._policies.get(revision)
        return PolicyRecord.model_validate(found) if found else None

    async def latest(self, limit: int) -> Sequence[PolicyRecord]:
        found = await self._policies.find({}, sort=[("created_at", -1)], limit=limit)
        return [PolicyRecord.model_validate(each) for each in found]

    async def active(self) -> ActivePolicy | None:
        found = await self._active.get(_ACTIVE)
        return ActivePolicy.model_validate(found) if found else None

    async def activate(self, active: ActivePolicy, *, from_generation: int) -> bool:
        fields = active.model_dump(mode="json")
        if from_generation == 0:
            return await self._active.insert_once({"_id": _ACTIVE, **fields})
        return await self._active.update_if({"_id": _ACTIVE, "generation": from_generation}, {"$set": fields})
