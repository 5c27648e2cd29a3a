"""Changes, revisions, deployments and rollbacks as documents of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from typing import Any

from services.guardrail.domain.records import UNWRITTEN, ChangeRecord, Deployment, RevisionRecord, RollbackRecord
from services.guardrail.ports import LostRaceError
from shared.errors import UnavailableError
from shared.events.values import Attestation
from shared.storage.collection import Database

_BULKY = frozenset(("document", "evidence", "gate", "attestation"))
"""Fields of a change that its rules did not see as they are."""
FORGOTTEN_TOGETHER = 8
_OPEN = ["proposed", "measuring"]
_HELD = {"held_by": {"$gt": ""}}
_DECIDED_BY_PEOPLE = {"decisions.reviewer": {"$gt": ""}}


class MongoChanges:
    """`proposals` holds what was taken up, in its order, until it is judged: then it stands in `changes`, written once, with its
    verdict. What is held, or measured for minutes, stands in both."""

    def __init__(self, database: Database) -> None:
        self._changes = database.collection("changes")
        self._proposals = database.collection("proposals")
        self._judged: set[str] = set()
        """Ids that may still stand among the proposals. Who finds one there sees by its change that it is judged."""

    async def ensure_indexes(self) -> None:
        await self._changes.ensure_index([("status", 1)], name="status")
        await self._changes.ensure_index([("digest", 1)], name="digest")
        await self._changes.ensure_index([("glass.status", 1)], name="glass")
        await self._changes.ensure_index([("held_by", 1)], name="held_by")
        # Each of these costs every change 0.2 ms of the store. `judged` and `promotions` have none: only people ask these.
        await self._changes.ensure_index([("decisions.reviewer", 1)], name="reviewer")
        await self._proposals.ensure_index([("pipeline", 1)], name="pipeline")
        await self._tidy()

    async def open(self, record: ChangeRecord) -> ChangeRecord:
        """Whether it was judged before is not asked here: its first save finds that out."""
        document = _document(record, record.change_id)
        is_new, _ = await asyncio.gather(self._proposals.insert_once(document), self._forget_judged())
        if is_new:
            return record
        stored = await self.get(record.change_id)
        if stored is None:
            raise UnavailableError(f"change {record.change_id} cannot be read back")
        return stored

    async def get(self, change_id: str) -> ChangeRecord | None:
        # Between two looks it may have been judged, and forgotten as a proposal.
        for collection in (self._changes, self._proposals, self._changes):
            if found := await collection.get(change_id):
                return ChangeRecord.model_validate(found)
        return None

    async def save(self, record: ChangeRecord) -> ChangeRecord:
        after = record.model_copy(update={"version": record.version + 1})
        fields = after.model_dump(mode="json")
        is_written = record.version <= 0 and await self._changes.insert_once({"_id": record.change_id, **fields})
        if not is_written and record.version != UNWRITTEN:
            is_written = await self._changes.update_if({"_id": record.change_id, "version": record.version}, {"$set": fields})
        stored = fields if is_written else await self._changes.get(record.change_id)
        if stored and stored["status"] not in _OPEN:
            self._judged.add(record.change_id)
        if not is_written:
            raise LostRaceError(f"change {record.change_id} was written by another process at this moment")
        return after

    async def queued(self, limit: int) -> Sequence[ChangeRecord]:
        found = await self._changes.find({"status": "queued"}, sort=[("created_at", 1)], limit=limit)
        return [ChangeRecord.model_validate(each) for each in found]

    async def untold(self, limit: int) -> Sequence[ChangeRecord]:
        found = await self._changes.find({"status": "expired", "untold": True}, limit=limit)
        return [ChangeRecord.model_validate(each) for each in found]

    async def decided_by_people(self, limit: int) -> Sequence[ChangeRecord]:
        found = await self._changes.find(_DECIDED_BY_PEOPLE, sort=[("decided_at", -1)], limit=limit)
        return [ChangeRecord.model_validate(each) for each in found]

    async def judged(self, limit: int, since: str) -> Sequence[ChangeRecord]:
        filters = {"created_at": {"$gte": since}, "status": {"$in": ["queued", "approved", "vetoed", "expired"]}}
        return await self._latest(filters, limit, without=_BULKY)

    async def promotions(self, pipeline: str, limit: int) -> Sequence[ChangeRecord]:
        return await self._latest({"pipeline": pipeline, "kind": "promotion"}, limit, without=_BULKY - {"gate"})

    async def _latest(self, filters: dict[str, Any], limit: int, without: Set[str]) -> Sequence[ChangeRecord]:
        fields = [name for name in ChangeRecord.model_fields if name not in without]
        found = await self._changes.find(filters, sort=[("created_at", -1)], limit=limit, fields=fields)
        return [ChangeRecord.model_validate({"document": {}, **each}) for each in found]

    async def with_broken_glass(self, limit: int) -> Sequence[ChangeRecord]:
        found = await self._changes.find({"glass.status": {"$in": ["open", "lapsing"]}}, limit=limit)
        return [ChangeRecord.model_validate(each) for each in found]

    async def earlier(self, record: ChangeRecord) -> Sequence[str]:
        # Few are open at once: picking and sorting them here costs the store a quarter of what doing it there does.
        known = await self._proposals.find({"pipeline": record.pipeline}, fields=("sequence",))
        found = [each for each in known if 0 < each.get("sequence", 0) < record.sequence and each["_id"] not in self._judged]
        return [each["_id"] for each in sorted(found, key=lambda each: each["sequence"])]

    async def held(self, limit: int) -> Sequence[ChangeRecord]:
        found = await self._changes.find(_HELD, sort=[("sequence", 1)], limit=limit)
        return [ChangeRecord.model_validate(each) for each in found]

    async def count_held(self) -> int:
        return await self._changes.count(_HELD)

    async def barring(self, digest: str) -> ChangeRecord | None:
        # By its digest alone, which is indexed: a filter of three fields costs the store three times as much.
        same = await self._changes.find({"digest": digest}, fields=("status", "bars_digest"))
        found = [each["_id"] for each in same if each["status"] == "vetoed" and each.get("bars_digest")]
        return await self.get(found[0]) if found else None

    async def _forget_judged(self) -> None:
        """Together, for the store takes them so at half the cost. Those that a crash leaves standing harm nobody."""
        if len(self._judged) >= FORGOTTEN_TOGETHER:
            judged, self._judged = sorted(self._judged), set()
            await self._proposals.delete({"_id": {"$in": judged}})

    async def _tidy(self) -> None:
        """At a start: former versions kept proposals among the changes, and a crash leaves some that were judged."""
        standing = {each["_id"] for each in await self._proposals.find({}, fields=("sequence",))}
        open_ones = {each["_id"] for each in await self._changes.find({"status": {"$in": _OPEN}}, fields=("sequence",))}
        if missing := sorted(open_ones - standing):
            await self._proposals.insert_many(await self._changes.find({"_id": {"$in": missing}}))
        known = await self._changes.find({"_id": {"$in": sorted(standing - open_ones)}}, fields=("sequence",))
        self._judged |= {each["_id"] for each in known}


class MongoRevisions:
    """`revisions` is read by executors: `_id` is the digest. `quarantine` also holds digests that never became a revision."""

    def __init__(self, database: Database) -> None:
        self._revisions = database.collection("revisions")
        self._quarantine = database.collection("quarantine")

    async def ensure_indexes(self) -> None:
        await self._revisions.ensure_index([("pipeline", 1)], name="pipeline")
        await self._revisions.ensure_index([("parent_digest", 1)], name="parent_digest")
        await self._revisions.ensure_index([("origins", 1)], name="origins")
        await self._revisions.ensure_index([("attestation.key_id", 1)], name="key_id")

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
        # Two questions that an index answers each; what is both a parent and an origin comes once.
        found = await asyncio.gather(
            *(self._revisions.find({name: {"$in": list(digests)}}) for name in ("parent_digest", "origins"))
        )
        by_digest = {each["_id"]: RevisionRecord.model_validate(each) for rows in found for each in rows}
        return tuple(by_digest.values())

    async def quarantine(
        self, digest: str, *, cause: str, reason: str, at: str, author: str = "", cancel_running: bool = False
    ) -> None:
        row = {"cause": cause, "reason": reason, "at": at, "author": author, "cancel_running": cancel_running}
        # Out of use before it is called so: whoever dies in between leaves no quarantined revision that can be run.
        taken_out = await self._taken_out(digest)
        if not await self._quarantine.insert_once({"_id": digest, **row}) and cancel_running:
            await self._quarantine.update_if({"_id": digest}, {"$set": {"cancel_running": True}})
        if not taken_out:
            await self._taken_out(digest)

    async def _taken_out(self, digest: str) -> bool:
        """False where there is no such revision, or not yet."""
        return await self._revisions.update_if({"_id": digest}, {"$set": {"status": "quarantined"}})

    async def release(self, digest: str, attestation: Attestation) -> None:
        fields = {"status": "approved", "attestation": attestation.model_dump(mode="json")}
        await self._quarantine.delete({"_id": digest})
        await self._revisions.update_if({"_id": digest}, {"$set": fields})

    async def is_quarantined(self, digest: str) -> bool:
        return await self._quarantine.get(digest) is not None

    async def why_quarantined(self, digest: str) -> dict[str, Any] | None:
        found = await self._quarantine.get(digest)
        return {name: value for name, value in found.items() if name != "_id"} if found else None

    async def signed_otherwise(self, key: str, among: Sequence[str] | None = None) -> Sequence[RevisionRecord]:
        signers = {"$ne": key} if among is None else {"$in": sorted(set(among) - {key})}
        found = await self._revisions.find({"status": "approved", "attestation.key_id": signers})
        return [RevisionRecord.model_validate(each) for each in found]

    async def reattest(self, digest: str, attestation: Attestation, *, from_key: str) -> bool:
        wanted = {"_id": digest, "status": "approved", "attestation.key_id": from_key}
        return await self._revisions.update_if(wanted, {"$set": {"attestation": attestation.model_dump(mode="json")}})


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

    async def fence(self, pipeline: str | None, domain: str | None) -> None:
        wanted = {"_id": pipeline} if pipeline else {"domain": domain} if domain else {}
        found = await self._deployments.find(wanted, fields=("generation",))
        await self._deployments.update_each([({"_id": each["_id"]}, {"$inc": {"generation": 1}}) for each in found])

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

    async def get(self, rollback_id: str) -> RollbackRecord | None:
        found = await self._rollbacks.get(rollback_id)
        return RollbackRecord.model_validate(found) if found else None

    async def latest(self, limit: int) -> Sequence[RollbackRecord]:
        found = await self._rollbacks.find({"refused": ""}, sort=[("at", -1)], limit=limit)
        return [RollbackRecord.model_validate(each) for each in found]


def _document(record: Any, document_id: str) -> dict[str, Any]:
    return {"_id": document_id, **record.model_dump(mode="json")}
