"""The guardrail's database, read only."""

from __future__ import annotations

import asyncio
from typing import Any

from services.executor.domain.admission import Place, Revision, selected
from services.executor.domain.quotas import Bound
from shared.errors import NotFoundError
from shared.events.values import Attestation
from shared.pipeline.suggestions import no_such_pipeline
from shared.storage import Database
from shared.storage.group_read import GroupRead

DIGEST_LENGTH = 64
MAX_GUESSES = 10_000
MOST_NAMES = 1000
"""Of pipelines that are looked through for one that is probably meant."""


class MongoRevisions:
    """Reads deployment and revision at every call: a rollback holds for the next run.

    Both are read at once: the revision is guessed from the deployment of the last time, and read again where it is another."""

    def __init__(self, database: Database) -> None:
        self._last: dict[str, dict[str, Any]] = {}
        self._revisions = database.collection("revisions")
        self._revision = GroupRead(self._revisions)
        self._deployments = database.collection("deployments")
        self._deployment = GroupRead(self._deployments)

    async def resolve(self, pipeline: str, selector: str, unit_id: str = "") -> Revision:
        place = Place()
        if selector in ("", "stable", "canary"):
            found, place = await self._deployed_revision(pipeline, selector, unit_id)
        else:
            found = await self._found(selector, pipeline)
        return Revision(
            digest=found["_id"],
            pipeline=pipeline,
            status=found["status"],
            document=found["document"],
            attestation=Attestation.model_validate(found["attestation"]),
            place=place,
        )

    async def _deployed_revision(self, pipeline: str, selector: str, unit_id: str) -> tuple[dict[str, Any], Place]:
        last = self._last.get(pipeline)
        guess = selected(last, selector, unit_id)[0] if last else ""
        if guess:
            deployment, guessed = await asyncio.gather(self._deployed(pipeline), self._revision.get(guess))
        else:
            deployment, guessed = await self._deployed(pipeline), None
        digest, place = selected(deployment, selector, unit_id)
        if not digest:
            raise NotFoundError(f"pipeline {pipeline!r} has no {selector or 'stable'} revision")
        if guessed is None or guess != digest or guessed["pipeline"] != pipeline:
            guessed = await self._found(digest, pipeline)
        if len(self._last) >= MAX_GUESSES:
            self._last.clear()
        self._last[pipeline] = deployment
        return guessed, place

    async def _deployed(self, pipeline: str) -> dict[str, Any]:
        deployment = await self._deployment.get(pipeline)
        if deployment is None:
            approved = "one that is only approved runs as NAME@DIGEST"
            raise NotFoundError(f"{await self._unknown(pipeline)}; {approved}")
        return deployment

    async def _unknown(self, pipeline: str) -> str:
        if await self._revisions.find({"pipeline": pipeline}, limit=1, fields=("pipeline",)):
            return f"pipeline {pipeline!r} is not deployed: `evoline pipelines` lists what is"
        deployed = await self._deployments.find({}, limit=MOST_NAMES, fields=("generation",))
        return no_such_pipeline(pipeline, tuple(each["_id"] for each in deployed))

    async def _found(self, digest: str, pipeline: str) -> dict[str, Any]:
        if len(digest) == DIGEST_LENGTH:
            exact = await self._revision.get(digest)
            found = [exact] if exact is not None and exact["pipeline"] == pipeline else []
        else:
            found = await self._revisions.find({"_id": {"$gte": digest, "$lt": digest + "g"}, "pipeline": pipeline}, limit=2)
        if not found:
            if not await self._revisions.find({"pipeline": pipeline}, limit=1, fields=("pipeline",)):
                raise NotFoundError(await self._unknown(pipeline))
            raise NotFoundError(f"pipeline {pipeline!r} has no revision {digest}: `evoline show {pipeline}` lists them")
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
