"""Requests and learned templates in `evoline_generator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.generator.domain.templates import Template
from shared.storage.collection import Database


class MongoRequestStore:
    def __init__(self, database: Database) -> None:
        self._requests = database.collection("requests")

    async def get(self, request_id: str) -> dict[str, Any] | None:
        return await self._requests.get(request_id)

    async def open(self, record: dict[str, Any]) -> bool:
        return await self._requests.insert_once(record)

    async def update(self, request_id: str, fields: dict[str, Any]) -> None:
        await self._requests.update_if({"_id": request_id}, {"$set": fields})

    async def latest(self, limit: int) -> list[dict[str, Any]]:
        return await self._requests.find({}, sort=(("created_at", -1),), limit=limit)


class MongoLearnedTemplates:
    def __init__(self, database: Database) -> None:
        self._templates = database.collection("templates")

    async def all(self) -> Sequence[Template]:
        return [
            Template(record["name"], f"learned:{record['_id']}", record["document"])
            for record in await self._templates.find({"revoked": False})
        ]

    async def learn(self, template: Template, digest: str, domain: str) -> None:
        row = {"name": template.name, "domain": domain, "document": dict(template.document)}
        if not await self._templates.insert_once({"_id": digest, **row, "revoked": False}):
            # One that was revoked stays so, also where it is told again, or is told only now.
            await self._templates.update_if({"_id": digest, "revoked": False}, {"$set": row})

    async def revoke(self, digests: Sequence[str]) -> int:
        await self._templates.insert_many([{"_id": digest, "revoked": True} for digest in sorted(set(digests))])
        revoked = [
            await self._templates.update_if({"_id": digest, "revoked": False}, {"$set": {"revoked": True}}) for digest in digests
        ]
        return sum(revoked)
