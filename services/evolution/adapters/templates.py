"""Learned templates in `evoline_evolution`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.storage.collection import Database


class MongoTemplates:
    def __init__(self, database: Database) -> None:
        self._templates = database.collection("templates")

    async def prepare(self) -> None:
        await self._templates.ensure_index([("domain", 1)], name="by_domain")

    async def learn(self, digest: str, row: Mapping[str, Any]) -> None:
        await self._templates.put({"_id": digest, **row})

    async def of_domain(self, domain: str) -> list[dict[str, Any]]:
        found = await self._templates.find({"domain": domain}, sort=[("_id", 1)])
        return [{"digest": each["_id"], "document": each["document"], "score": each["score"]} for each in found]
