"""What an approval does: the attested revision is stored, then the deployment moves by one compare-and-set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.guardrail.domain.records import SHIPPED_AUTHOR, ChangeRecord, Deployment, RevisionRecord, redeployed
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.judging import quarantined_ancestor
from services.guardrail.use_cases.maturity_changes import set_maturity
from services.guardrail.use_cases.policy_changes import activate
from services.guardrail.use_cases.rollouts.advancing import advance
from services.guardrail.use_cases.rollouts.starting import rollout_of, start_for_change
from services.guardrail.use_cases.telling import outcome_key
from shared.events.recovery import Freeze
from shared.events.values import Attestation

STORED_ONLY = ("revision", "promotion", "template")
"""Kinds that may end with a stored revision."""
STALE = "another revision became stable while this change was judged; propose it again, against the new one"
_DESCENDS = "it descends from {}, which was quarantined at this moment"
SUPERSEDED = "what this change was judged against was replaced meanwhile; propose it again, against what is in force now"


def attested(record: ChangeRecord, at: Guardrail, now: datetime) -> Attestation:
    return at.signer.sign(
        Attestation(
            kind=record.attested_kind,
            digest=record.digest,
            scope=record.pipeline,
            domain=record.domain,
            policy_revision=record.policy_revision,
            issued_at=now.isoformat(),
            expires_at=(now + timedelta(days=at.policy.document.attestation_days)).isoformat(),
            key_id="",
        )
    )


@dataclass(frozen=True)
class Standing:
    """What an approved change meets."""

    deployment: Deployment | None
    freeze: Freeze | None


async def met_by(record: ChangeRecord, at: Guardrail) -> Standing:
    """The deployment is read before the freeze: whoever freezes writes that down and then moves the deployments, so either the
    freeze is seen, or the compare-and-set of what was read is refused. Before a first deployment there is nothing to move."""
    deployment = await at.deployments.get(record.pipeline) if record.deploy or record.kind == "maturity" else None
    return Standing(deployment, await at.freeze.holding(record.pipeline, record.domain))


async def apply(record: ChangeRecord, at: Guardrail, met: Standing | None = None) -> ChangeRecord:
    """Carries an approved change out, from wherever a crash left it. Comes back vetoed where it was overtaken meanwhile, held where
    people keep everything as it is. `met`: read since it was judged."""
    if record.applied:
        return record
    met = met or await met_by(record, at)
    if met.freeze:
        return record if await _is_kept(record, at) else await held(record, met.freeze, at)
    if record.kind in ("policy", "maturity"):
        return await _put_in_force(record, met.deployment, at)
    if record.kind == "release":
        return await _released(record, at)
    rollout = rollout_of(record.change_id)
    if record.rollout is not None and await at.rollouts.get(rollout) is not None:
        await advance(rollout, at)
        return await _begun(record, rollout, at)
    return await _put_in_service(record, met.deployment, at)


async def _put_in_service(record: ChangeRecord, current: Deployment | None, at: Guardrail) -> ChangeRecord:
    """The revision stored, then deployed, or on its way by a rollout."""
    if _is_overtaken(record, current):
        return await overturned(record, at, STALE)
    revision = await at.revisions.add(revision_record(record))
    if reason := await _out_of_use(revision.status, record.ancestry, record, at):
        return record if await _is_kept(record, at) else await overturned(record, at, reason)
    if not record.deploy:
        # Not written down: the stored revision says it, and one write less is a tenth of a decision.
        return record.model_copy(update={"applied": True})
    if record.rollout is not None and record.incumbent_digest:
        return await _begun(record, await start_for_change(record, record.rollout, at), at)
    serving = await deployed(record, current, at)
    if serving is None:
        return await overturned(record, at, STALE)
    generation, previous = serving
    return await at.changes.save(record.model_copy(update={"applied": True, "generation": generation, "previous_digest": previous}))


async def _is_kept(record: ChangeRecord, at: Guardrail) -> bool:
    """It was only to be stored, and that was told as done: this is a repeat."""
    if record.deploy or record.kind not in STORED_ONLY:
        return False
    return await at.audit.find(outcome_key(record.change_id, "approved")) is not None


async def _out_of_use(status: str, ancestry: Sequence[str], record: ChangeRecord, at: Guardrail) -> str:
    """Why nobody may run it, though it was approved; empty where all may. Whatever descends from it is quarantined, too."""
    if status == "quarantined":
        return "this revision was quarantined after a rollback; propose another one"
    if ancestor := await quarantined_ancestor(ancestry, at):
        now, why = at.clock.now().isoformat(), f"descends from {ancestor}"
        await at.revisions.quarantine(record.digest, cause=record.change_id, reason=why, at=now)
        return _DESCENDS.format(ancestor[:12])
    return ""


async def _begun(record: ChangeRecord, rollout_id: str, at: Guardrail) -> ChangeRecord:
    return await at.changes.save(record.model_copy(update={"applied": True, "rollout_id": rollout_id}))


async def _put_in_force(record: ChangeRecord, current: Deployment | None, at: Guardrail) -> ChangeRecord:
    generation = await (activate(record, at) if record.kind == "policy" else set_maturity(record, current, at))
    if generation is None:
        return await overturned(record, at, SUPERSEDED)
    return await at.changes.save(record.model_copy(update={"applied": True, "generation": generation}))


async def _released(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    """Looked at before and after: what is quarantined at this moment, it or an ancestor, is out again, here or by its own sweep."""
    assert record.attestation is not None, "an approved release carries its attestation"
    revision = await at.revisions.get(record.digest)
    ancestry = revision.ancestry if revision else ()
    if ancestor := await quarantined_ancestor(ancestry, at):
        return await overturned(record, at, _DESCENDS.format(ancestor[:12]))
    if reason := await _quarantined_anew(record, at, but=record.releases):
        return await overturned(record, at, reason)
    await at.revisions.release(record.digest, record.attestation)
    if reason := await _quarantined_anew(record, at) or await _out_of_use("approved", ancestry, record, at):
        return await overturned(record, at, reason)
    return await at.changes.save(record.model_copy(update={"applied": True}))


async def _quarantined_anew(record: ChangeRecord, at: Guardrail, *, but: str | None = None) -> str:
    """Empty where no other quarantine than the one with the cause `but` stands; empty there: whatever its cause is. Another one was
    written while people decided about that, or while it was released, maybe before the revision was said to be good again."""
    mark = await at.revisions.why_quarantined(record.digest)
    if mark is None or but in ("", mark["cause"]):
        return ""
    await at.revisions.quarantine(record.digest, cause=mark["cause"], reason=mark["reason"], at=mark["at"])
    return f"it was quarantined again meanwhile ({mark['reason']}); have its release proposed again"


async def held(record: ChangeRecord, freeze: Freeze, at: Guardrail) -> ChangeRecord:
    """Kept as it is until the freeze ends, whatever it has come to so far."""
    return record if record.held_by else await at.changes.save(record.model_copy(update={"held_by": freeze.freeze_id}))


async def deployed(record: ChangeRecord, current: Deployment | None, at: Guardrail) -> tuple[int, str] | None:
    """(generation, digest before it), or None where something else than the judged incumbent serves.

    Raises `LostRaceError` where it is not `current` any more: the next delivery looks again."""
    now = at.clock.now().isoformat()
    if current is not None and record.change_id in current.causes:
        return current.causes[record.change_id], record.incumbent_digest
    if (current.stable if current else "") != record.incumbent_digest:
        return None
    if current is None:
        moved = await at.deployments.create(first_deployment(record, now))
        generation = 1
    else:
        after = redeployed(current, record.digest, record.change_id, now)
        moved = await at.deployments.swap(after, from_generation=current.generation)
        generation = after.generation
    if not moved:
        raise LostRaceError(f"the deployment of {record.pipeline} moved at this moment")
    return generation, record.incumbent_digest


async def overturned(record: ChangeRecord, at: Guardrail, reason: str) -> ChangeRecord:
    """An approval that could not take effect ends as a veto; the attestation is dropped with it."""
    update = {"status": "vetoed", "decided_by": "check", "reasons": (reason,), "attestation": None}
    return await at.changes.save(record.model_copy(update=update))


def revision_record(record: ChangeRecord) -> RevisionRecord:
    assert record.attestation is not None, "only an attested change becomes a revision"
    return RevisionRecord(
        digest=record.digest,
        kind="template" if record.kind == "template" else "revision",
        pipeline=record.pipeline,
        domain=record.domain,
        document=record.document,
        attestation=record.attestation,
        parent_digest=record.parent_digest,
        origins=record.origins,
        change_id=record.change_id,
        author=record.author,
        approved_by=record.decided_by,
        dataset_id=record.dataset_id,
        created_at=record.decided_at,
    )


def first_deployment(record: ChangeRecord, now: str) -> Deployment:
    return Deployment(
        pipeline=record.pipeline,
        domain=record.domain,
        author=record.author,
        stable=record.digest,
        maturity="production" if record.author == SHIPPED_AUTHOR else "experimental",
        updated_at=now,
        causes={record.change_id: 1},
    )


def _is_overtaken(record: ChangeRecord, current: Deployment | None) -> bool:
    """Checked before the revision is stored, so that an overtaken change leaves nothing attested behind."""
    if not record.deploy:
        return False
    if current is not None and record.change_id in current.causes:
        return False
    return (current.stable if current else "") != record.incumbent_digest
