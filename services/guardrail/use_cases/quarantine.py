"""Taking revisions out of use with everything bred from them, and back into use by people."""

from __future__ import annotations

from collections.abc import Sequence

from services.guardrail.domain.audit import AuditEntry, AuditNote
from services.guardrail.domain.records import SHIPPED_PREFIX, ChangeRecord, RevisionRecord, signature_fields
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.judging import quarantined_ancestor
from services.guardrail.use_cases.queries import unknown
from services.guardrail.use_cases.taking_out import AGAIN, Cause, step_back, take_out
from services.guardrail.use_cases.telling import Effects, told
from services.guardrail.use_cases.verdicts import CHECK, queued, vetoed, written
from shared.errors import InvalidInputError, NotFoundError
from shared.events.deployments import PipelineDeployed
from shared.events.recovery import QuarantineRefused, QuarantineRevision, ReleaseRevision, RevisionQuarantined
from shared.identity import UNSIGNED, Signature

FULL_DIGEST = 64


async def quarantine_revision(command: QuarantineRevision, at: Guardrail) -> Effects:
    """Idempotent by quarantine id: what was done is in the audit log, and told again from there."""
    key = _key(command)
    entry = await at.audit.find(key)
    if entry is None:
        try:
            digest = await _digest(command.pipeline, command.digest, at)
        except NotFoundError as error:
            return [_refused(command.quarantine_id, command.pipeline, str(error))]
        if not command.even_if_serving and await _serves(command.pipeline, digest, at) and not await _is_begun(command, digest, at):
            ways = f"replace it: evoline rollback {command.pipeline}, or give --even-if-serving and have every run refused"
            reason = f"{digest[:12]} serves {command.pipeline}; {ways}"
            return [_refused(command.quarantine_id, command.pipeline, reason)]
        now = at.clock.now().isoformat()
        cause = Cause(command.quarantine_id, command.author, command.reason, now, command.cancel_running)
        doomed = await take_out(digest, (), cause, at)
        # It did not serve when it was looked at; a rollout or a change may have been faster than the mark.
        back = None if command.even_if_serving else await step_back(command.pipeline, digest, key + AGAIN, at)
        entry = await at.audit.append(_note(key, command, digest, doomed, now, back))
    fact = RevisionQuarantined(
        quarantine_id=command.quarantine_id,
        pipeline=entry.subject,
        digest=entry.digest,
        quarantined=tuple(entry.facts["quarantined"]),
        reason=entry.facts["reason"],
        author=entry.actor,
    )
    return [("quarantined", fact), *_went_back(entry)]


async def release_revision(
    command: ReleaseRevision, at: Guardrail, *, message_id: str = "", signature: Signature = UNSIGNED
) -> Effects:
    """A change that always waits for people. Raises `InvalidInputError` where the id is that of another change."""
    if command.change_id.startswith(SHIPPED_PREFIX):
        raise InvalidInputError(f"ids `{SHIPPED_PREFIX}...` are the system's own; choose another")
    record = await at.changes.get(command.change_id)
    if record is None:
        try:
            revision = await at.revisions.get(await _digest(command.pipeline, command.digest, at))
        except NotFoundError as error:
            return [_refused(command.change_id, command.pipeline, str(error))]
        if revision is None:
            return [_refused(command.change_id, command.pipeline, f"{command.digest} was never approved: propose it")]
        mark = await at.revisions.why_quarantined(revision.digest)
        opened = _release_record(command, revision, at.clock.now().isoformat(), message_id, mark["cause"] if mark else "")
        record = await at.changes.open(opened.model_copy(update=signature_fields(signature)))
    if record.kind != "release" or record.pipeline != command.pipeline:
        raise InvalidInputError(f"change {command.change_id} is another one; choose another id")
    if record.is_open:
        record = await _put_forward(record, at)
    return await told(record, at)


async def why_not_released(record: ChangeRecord, at: Guardrail) -> str:
    """Empty where people may take it out of quarantine."""
    revision = await at.revisions.get(record.digest)
    if revision is None or revision.document != record.document:
        return "the revision is not stored as it was when this was proposed"
    if not await at.revisions.is_quarantined(record.digest):
        return "it is not quarantined: there is nothing to release"
    if ancestor := await quarantined_ancestor(revision.ancestry, at):
        return f"it descends from {ancestor[:12]}, which is quarantined: release that one first"
    return ""


async def _put_forward(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    if reason := await why_not_released(record, at):
        return await written(vetoed(record, at, CHECK, (reason,)), at)
    return await written(queued(record, at, "policy:release", ("only people take a revision out of quarantine",)), at)


async def _digest(pipeline: str, wanted: str, at: Guardrail) -> str:
    """A whole digest may be one that never became a revision. Raises `NotFoundError`."""
    revisions = await at.revisions.of_pipeline(pipeline)
    found = [each.digest for each in revisions if each.digest.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found and len(wanted) == FULL_DIGEST:
        known = await at.revisions.get(wanted)
        if known is not None and known.pipeline != pipeline:
            raise NotFoundError(f"{wanted[:12]} is a revision of {known.pipeline}, not of {pipeline}: name that pipeline")
        return wanted
    if not revisions:
        raise NotFoundError(await unknown(pipeline, at))
    raise NotFoundError(
        f"{wanted!r} names {len(found)} revisions of pipeline {pipeline!r}; evoline show pipeline {pipeline} lists them"
    )


async def _is_begun(command: QuarantineRevision, digest: str, at: Guardrail) -> bool:
    """This very quarantine marked it before, so it is one, whatever became stable since."""
    mark = await at.revisions.why_quarantined(digest)
    return mark is not None and mark["cause"] == command.quarantine_id


async def _serves(pipeline: str, digest: str, at: Guardrail) -> bool:
    deployment = await at.deployments.get(pipeline)
    return deployment is not None and deployment.stable == digest


def _release_record(command: ReleaseRevision, revision: RevisionRecord, now: str, cause: str, releases: str) -> ChangeRecord:
    return ChangeRecord(
        change_id=command.change_id,
        kind="release",
        pipeline=revision.pipeline,
        domain=revision.domain,
        author=command.author,
        reason=command.reason,
        document=revision.document,
        digest=revision.digest,
        deploy=False,
        created_at=now,
        cause=cause,
        releases=releases,
    )


def _refused(request_id: str, pipeline: str, reason: str) -> tuple[str, QuarantineRefused]:
    return "refused", QuarantineRefused(request_id=request_id, pipeline=pipeline, reason=reason)


def _key(command: QuarantineRevision) -> str:
    """Of its entry."""
    return f"quarantine:{command.quarantine_id}"


def _went_back(entry: AuditEntry) -> Effects:
    if not (back := entry.facts.get("went_back_to")):
        return []
    fact = PipelineDeployed(
        pipeline=entry.subject,
        digest=back,
        previous_digest=entry.digest,
        change_id=entry.key.removeprefix("quarantine:"),
        generation=entry.facts["generation"],
    )
    return [("deployed", fact)]


def _note(
    key: str, command: QuarantineRevision, digest: str, doomed: Sequence[str], now: str, back: tuple[str, int] | None
) -> AuditNote:
    went_back = {"went_back_to": back[0], "generation": back[1]} if back else {}
    return AuditNote(
        key=key,
        at=now,
        action="revision.quarantined",
        actor=command.author,
        subject=command.pipeline,
        digest=digest,
        facts={"quarantined": list(doomed), "reason": command.reason, "cancel_running": command.cancel_running} | went_back,
    )
