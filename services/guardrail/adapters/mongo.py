"""Changes, revisions, deployments, rollbacks and scopes as documents of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.guardrail.domain.records import UNWRITTEN, ChangeRecord, Deployment, RevisionRecord, RollbackRecord
from services.guardrail.ports import LostRaceError
from shared.errors import UnavailableError
from shared.events.changes import GrantScope
from shared.events.values import GrantedScope
from shared.storage.collection import Database

_BULKY = frozenset(("document", "evidence", "gate", "attestation"))
"""Fields of a change that its rules did not see as they are."""


class MongoChanges:
    def __init__(self, database: Database) -> None:
        self._changes = database.collection("changes")

    async def ensure_indexes(self) -> None:
        await self._changes.ensure_index([("status", 1)], name="status")
        await self._changes.ensure_index([("digest", 1)], name="digest")
        await self._changes.ensure_index([("glass.status", 1)], name="glass")

    async def open(self, record: ChangeRecord) -> ChangeRecord:
        if await self._changes.insert_once(_document(record, record.change_id)):
            return record
        stored = await self.get(record.change_id)
        if stored is None:
            raise UnavailableError(f"change {record.change_id} cannot be read back")
        return stored

    async def get(self, change_id: str) -> ChangeRecord | None:
        found = await self._changes.get(change_id)
        return ChangeRecord.model_validate(found) if found else None

    async def save(self, record: ChangeRecord) -> ChangeRecord:
        after = record.model_copy(update={"version": record.version + 1})
        fields = after.model_dump(mode="json")
        if record.version == UNWRITTEN:
            is_written = await self._changes.insert_once({"_id": record.change_id, **fields})
        else:
            is_written = await self._changes.update_if({"_id": record.change_id, "version": record.version}, {"$set": fields})
        if not is_written:
            raise LostRaceError(f"change {record.change_id} was written by another process at this moment")
        return after

    async def queued(self, limit: int) -> Sequence[ChangeRecord]:
        found = await self._changes.find({"status": "queued"}, sort=[("created_at", 1)], limit=limit)
        return [ChangeRecord.model_validate(each) for each in found]

    async def decided_by_people(self, limit: int) -> Sequence[ChangeRecord]:
        found = await self._changes.find({"decisions": {"$ne": []}}, sort=[("decided_at", -1)], limit=limit)
        return [ChangeRecord.model_validate(each) for each in found]

    async def judged(self, limit: int, since: str) -> Sequence[ChangeRecord]:
        filters = {"created_at": {"$gte": since}, "status": {"$in": ["queued", "approved", "vetoed", "expired"]}}
        fields = [name for name in ChangeRecord.model_fields if name not in _BULKY]
        found = await self._changes.find(filters, sort=[("created_at", -1)], limit=limit, fields=fields)
        return [ChangeRecord.model_validate({"document": {}, **each}) for each in found]

    async def with_broken_glass(self, limit: int) -> Sequence[ChangeRecord]:
        found = await self._changes.find({"glass.status": {"$in": ["open", "lapsing"]}}, limit=limit)
        return [ChangeRecord.model_validate(each) for each in found]

    async def barring(self, digest: str) -> ChangeRecord | None:
        found = await self._changes.find({"digest": digest, "status": "vetoed", "bars_digest": True}, limit=1)
        return ChangeRecord.model_validate(found[0]) if found else None


class MongoRevisions:
    """`revisions` is read by executors: `_id` is the digest. `quarantine` also holds digests that never became a revision."""

    def __init__(self, database: Database) -> None:
        self._revisions = database.collection("revisions")
        self._quarantine = database.collection("quarantine")

    async def ensure_indexes(self) -> None:
        await self._revisions.ensure_index([("pipeline", 1)], name="pipeline")
        await self._revisions.ensure_index([("parent_digest", 1)], name="parent_digest")

    async def add(self, revision: RevisionRecord) -> RevisionRecord:
        inserted = await self._revisions.insert_once(_document(revision, revision.digest))
        # Looked up after the revision exists, so that a quarantine which was written at the same time is not lost.
        if await self.is_quarantined(revision.digest):
            await self._revisions.update_if({"_id": revision.digest}, {"$set": {"status": "quarantined"}})
        elif inserted:
            return revision
        stored = await self.get(revision.digest)
        if stored is None:
            raise UnavailableError(f"revision {revision.digest} cannot be read back")
        return stored

    async def get(self, digest: str) -> RevisionRecord | None:
        found = await self._revisions.get(digest)
        return RevisionRecord.model_validate(found) if found else None

    async def of_pipeline(self, pipeline: str) -> Sequence[RevisionRecord]:
        found = await self._revisions.find({"pipeline": pipeline, "kind": "revision"})
        return [RevisionRecord.model_validate(each) for each in found]

    async def children(self, digests: Sequence[str]) -> Sequence[RevisionRecord]:
        found = await self._revisions.find({"parent_digest": {"$in": list(digests)}})
        return [RevisionRecord.model_validate(each) for each in found]

    async def quarantine(self, digest: str, *, cause: str, reason: str, at: str) -> None:
        await self._quarantine.insert_once({"_id": digest, "cause": cause, "reason": reason, "at": at})
        await self._revisions.update_if({"_id": digest}, {"$set": {"status": "quarantined"}})

    async def is_quarantined(self, digest: str) -> bool:
        return await self._quarantine.get(digest) is not None


class MongoDeployments:
    """Read by executors at every run start: `_id` is the pipeline's name."""

    def __init__(self, database: Database) -> None:
        self._deployments = database.collection("deployments")

    async def get(self, pipeline: str) -> Deployment | None:
        found = await self._deployments.get(pipeline)
        return Deployment.model_validate(found) if found else None

    async def create(self, deployment: Deployment) -> bool:
        return await self._deployments.insert_once(_document(deployment, deployment.pipeline))

    async def swap(self, deployment: Deployment, *, from_generation: int) -> bool:
        filters = {"_id": deployment.pipeline, "generation": from_generation}
        return await self._deployments.update_if(filters, {"$set": deployment.model_dump(mode="json")})

    async def all(self, limit: int) -> Sequence[Deployment]:
        found = await self._deployments.find({}, sort=[("_id", 1)], limit=limit)
        return [Deployment.model_validate(each) for each in found]


class MongoRollbacks:
    def __init__(self, database: Database) -> None:
        self._rollbacks = database.collection("rollbacks")

    async def open(self, record: RollbackRecord) -> RollbackRecord:
        if await self._rollbacks.insert_once(_document(record, record.rollback_id)):
            return record
        return RollbackRecord.model_validate(await self._rollbacks.get(record.rollback_id))

    async def save(self, record: RollbackRecord) -> None:
        await self._rollbacks.put(_document(record, record.rollback_id))

    async def latest(self, limit: int) -> Sequence[RollbackRecord]:
        found = await self._rollbacks.find({"refused": ""}, sort=[("at", -1)], limit=limit)
        return [RollbackRecord.model_validate(each) for each in found]


class MongoScopes:
    def __init__(self, database: Database) -> None:
        self._scopes = database.collection("scopes")

    async def get(self, scope_id: str) -> tuple[GrantScope, GrantedScope] | None:
        found = await self._scopes.get(scope_id)
        return (GrantScope.model_validate(found["wish"]), GrantedScope.model_validate(found["granted"])) if found else None

    async def add(self, query: GrantScope, granted: GrantedScope) -> tuple[GrantScope, GrantedScope]:
        document = {"_id": query.scope_id, "wish": query.model_dump(mode="json"), "granted": granted.model_dump(mode="json")}
        await self._scopes.insert_once(document)
        stored = await self.get(query.scope_id)
        if stored is None:
            raise UnavailableError(f"scope {query.scope_id} cannot be read back")
        return stored


def _document(record: Any, document_id: str) -> dict[str, Any]:
    return {"_id": document_id, **record.model_dump(mode="json")}
