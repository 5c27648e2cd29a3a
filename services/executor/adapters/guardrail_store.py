"""The guardrail's database, read only."""

from __future__ import annotations

import asyncio
from typing import Any

from services.executor.adapters.group_read import GroupRead
from services.executor.domain.admission import Revision
from services.executor.domain.quotas import Bound
from shared.errors import NotFoundError
from shared.events.values import Attestation
from shared.storage import Database

DIGEST_LENGTH = 64
MAX_GUESSES = 10_000


class MongoRevisions:
    """Reads deployment and revision at every call: a rollback holds for the next run.

    Both are read at once: the revision is guessed to be the one that was deployed last time, and read again where it is not."""

    def __init__(self, database: Database) -> None:
        self._guesses: dict[tuple[str, str], str] = {}
        self._revisions = database.collection("revisions")
        self._revision = GroupRead(self._revisions)
        self._deployment = GroupRead(database.collection("deployments"))

    async def resolve(self, pipeline: str, selector: str) -> Revision:
        if selector in ("stable", "canary"):
            found = await self._deployed_revision(pipeline, selector)
        else:
            found = await self._found(selector, pipeline)
        return Revision(
            digest=found["_id"],
            pipeline=pipeline,
            status=found["status"],
            document=found["document"],
            attestation=Attestation.model_validate(found["attestation"]),
        )

    async def _deployed_revision(self, pipeline: str, selector: str) -> dict[str, Any]:
        guess = self._guesses.get((pipeline, selector))
        if guess is None:
            digest, guessed = await self._deployed(pipeline, selector), None
        else:
            digest, guessed = await asyncio.gather(self._deployed(pipeline, selector), self._revision.get(guess))
        if guessed is None or guess != digest or guessed["pipeline"] != pipeline:
            guessed = await self._found(digest, pipeline)
        if len(self._guesses) >= MAX_GUESSES:
            self._guesses.clear()
        self._guesses[pipeline, selector] = digest
        return guessed

    async def _deployed(self, pipeline: str, selector: str) -> str:
        deployment = await self._deployment.get(pipeline)
        if deployment is None:
            raise NotFoundError(f"pipeline {pipeline!r} is not deployed")
        if not deployment.get(selector):
            raise NotFoundError(f"pipeline {pipeline!r} has no {selector} revision")
        return str(deployment[selector])

    async def _found(self, digest: str, pipeline: str) -> dict[str, Any]:
        if len(digest) == DIGEST_LENGTH:
            exact = await self._revision.get(digest)
            found = [exact] if exact is not None and exact["pipeline"] == pipeline else []
        else:
            found = await self._revisions.find({"_id": {"$gte": digest, "$lt": digest + "g"}, "pipeline": pipeline}, limit=2)
        if not found:
            raise NotFoundError(f"pipeline {pipeline!r} has no revision {digest}")
        if len(found) > 1:
            raise NotFoundError(f"pipeline {pipeline!r} has several revisions that begin with {digest}")
        return found[0]


class MongoClosedScopes:
    def __init__(self, database: Database) -> None:
        self._scopes = database.collection("scopes")

    async def is_closed(self, scope_id: str) -> bool:
        found = await self._scopes.get(scope_id)
        return found is not None and found.get("closed_at") is not None


class MongoQuotaRules:
    def __init__(self, database: Database) -> None:
        self._rules = database.collection("quota_rules")

    async def bounds(self) -> tuple[Bound, ...]:
        found = await self._rules.get("in_force")
        return tuple(Bound.model_validate(each) for each in found["bounds"]) if found else ()
