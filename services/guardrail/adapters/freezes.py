"""The freeze document: `freezes/system`, read by executors before every trial."""

from __future__ import annotations

from services.guardrail.domain.freezing import FreezeBoard
from shared.events.recovery import Freeze
from shared.storage.collection import Database

_ID = "system"


class MongoFreezes:
    def __init__(self, database: Database) -> None:
        self._freezes = database.collection("freezes")

    async def read(self) -> FreezeBoard:
        return FreezeBoard.model_validate(await self._freezes.get(_ID) or {})

    async def swap(self, board: FreezeBoard, *, from_generation: int) -> bool:
        fields = board.model_dump(mode="json")
        if from_generation == 0:
            return await self._freezes.insert_once({"_id": _ID, **fields})
        return await self._freezes.update_if({"_id": _ID, "generation": from_generation}, {"$set": fields})

    async def holding(self, pipeline: str, *domains: str) -> Freeze | None:
        return (await self.read()).holding(pipeline, *domains)
