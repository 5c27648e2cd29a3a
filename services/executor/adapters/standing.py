"""What the guardrail stops: freezes and quarantined digests, read anew for every run that they could concern."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from services.executor.ports import Stopped
from shared.events.recovery import Freeze, standing
from shared.storage import Database
from shared.storage.group_read import GroupRead

_FREEZES = "system"


class MongoStanding:
    """Reads the guardrail's database. Runs that ask at the same time share one query."""

    def __init__(self, database: Database) -> None:
        self._quarantine = database.collection("quarantine")
        self._digests = GroupRead(self._quarantine)
        self._freezes = GroupRead(database.collection("freezes"))

    async def freezes(self) -> tuple[Freeze, ...]:
        return standing(await self._freezes.get(_FREEZES))

    async def is_quarantined(self, digest: str) -> bool:
        return await self._digests.get(digest) is not None

    async def cancelled(self, digests: Collection[str]) -> Mapping[str, Stopped]:
        wanted: dict[str, Any] = {"_id": {"$in": sorted(set(digests))}, "cancel_running": True}
        rows = await self._quarantine.find(wanted)
        return {row["_id"]: Stopped(row.get("author", "guardrail"), row["reason"]) for row in rows}

    async def read(self, digests: Collection[str]) -> tuple[tuple[Freeze, ...], Mapping[str, Stopped]]:
        return await asyncio.gather(self.freezes(), self.cancelled(digests))
