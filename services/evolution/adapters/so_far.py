"""What searches have measured while they go on, in `evoline_evolution`: one document a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.storage.collection import Database


class MongoSoFar:
    def __init__(self, database: Database) -> None:
        self._rows = database.collection("candidates_so_far")

    async def keep(self, evolution_id: str, rows: Sequence[Mapping[str, Any]], left_out: int) -> None:
        await self._rows.put({"_id": evolution_id, "rows": [dict(row) for row in rows], "left_out": left_out})

    async def of(self, evolution_id: str, limit: int) -> tuple[list[dict[str, Any]], int]:
        """(rows in order of birth, how many were left out); the seed is told in any case, then accepted ones, the latest first."""
        found = await self._rows.get(evolution_id)
        if found is None:
            return [], 0
        ranked = sorted(found["rows"], key=lambda row: (bool(row["parent"]), not row["accepted"], -int(row["birth"])))
        rows = sorted(ranked[:limit], key=lambda row: int(row["birth"]))
        return rows, found["left_out"] + len(found["rows"]) - len(rows)

    async def like(self, digest: str, limit: int) -> list[dict[str, Any]]:
        """Candidates whose digest begins so, of searches that go on: those are few."""
        found = [(each["_id"], row) for each in await self._rows.find({}) for row in each["rows"]]
        return [{**row, "evolution_id": name} for name, row in found if row["digest"].startswith(digest)][:limit]

    async def forget(self, evolution_id: str) -> None:
        await self._rows.delete({"_id": evolution_id})
