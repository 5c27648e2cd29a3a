"""Taking a revision back: one compare-and-set, then quarantine of it and of everything bred from it."""

from __future__ import annotations

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.records import Deployment, RollbackRecord, redeployed
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.judging import descendants
from services.guardrail.use_cases.queries import unknown
from services.guardrail.use_cases.taking_out import AGAIN, Cause, may_serve, step_back, take_out
from services.guardrail.use_cases.telling import Effects
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackPipeline, RollbackRefused


async def roll_back(command: RollbackPipeline, at: Guardrail) -> Effects:
    """Idempotent by rollback id. The deployment moves first, so that nothing new starts while the quarantine is written."""
    record = await at.rollbacks.open(
        RollbackRecord(
            rollback_id=command.rollback_id,
            pipeline=command.pipeline,
            author=command.author,
            reason=command.reason,
            at=at.clock.now().isoformat(),
        )
    )
    if not record.done:
        record = await _carried_out(record, command, at)
        await at.rollbacks.save(record)
    await at.audit.append(_note(record))
    if record.again_generation:
        await at.audit.append(_second_note(record))
    if record.refused:
        return [("refused", RollbackRefused(rollback_id=record.rollback_id, pipeline=record.pipeline, reason=record.refused))]
    return [("rolled_back", _rolled_back(record)), ("deployed", _deployed(record))]


async def _carried_out(record: RollbackRecord, command: RollbackPipeline, at: Guardrail) -> RollbackRecord:
    if not record.to_digest:
        record = await _planned(record, command, at)
        if record.refused:
            return record.model_copy(update={"done": True})
        await at.rollbacks.save(record)
    generation = await _moved(record, at)
    if generation is None:
        # Somebody else deployed between plan and compare-and-set: what is bad is not known any more, so ask again.
        refused = "another revision became stable at this moment; look again and repeat with a new rollback id"
        return record.model_copy(update={"refused": refused, "done": True})
    cause = Cause(record.rollback_id, record.author, record.reason, record.at, command.cancel_running)
    doomed = await take_out(record.from_digest, (record.to_digest,), cause, at)
    record = await _moved_again(record.model_copy(update={"generation": generation}), at)
    at.gauges.rolled_back()
    return record.model_copy(update={"quarantined": doomed, "done": True})


async def _moved_again(record: RollbackRecord, at: Guardrail) -> RollbackRecord:
    """A change of the same revision may have been judged before the mark and become stable again behind this rollback: that goes
    back a second time, to what may run by now."""
    back = await step_back(record.pipeline, record.from_digest, record.rollback_id + AGAIN, at)
    return record.model_copy(update={"again_to": back[0], "again_generation": back[1]}) if back else record


async def _planned(record: RollbackRecord, command: RollbackPipeline, at: Guardrail) -> RollbackRecord:
    current = await at.deployments.get(record.pipeline)
    if current is None:
        return record.model_copy(update={"refused": await unknown(record.pipeline, at)})
    if record.rollback_id in current.causes:
        if (await at.rollbacks.open(record)).to_digest:
            raise LostRaceError(f"rollback {record.rollback_id} is carried out by another process at this moment")
        # Or what that one did would be taken for this rollback, and what is bad would go on serving.
        taken = f"the id {record.rollback_id} is that of a change that moved this pipeline; repeat with a new rollback id"
        return record.model_copy(update={"refused": taken})
    target, refused = await _target(current, command.to_digest, at)
    return record.model_copy(update={"from_digest": current.stable, "to_digest": target, "refused": refused})


async def _target(current: Deployment, wanted: str | None, at: Guardrail) -> tuple[str, str]:
    """(digest, reason of a refusal); exactly one of both is empty."""
    bred = {each.digest for each in await descendants([current.stable], at)}
    if wanted and current.stable.startswith(wanted):
        return "", f"{wanted} is the stable revision already"
    candidates = [digest for digest in reversed(current.previous) if not wanted or digest.startswith(wanted)]
    if not candidates:
        known = ", ".join(digest[:12] for digest in current.previous) or "none"
        reason = f"there is no former stable revision{f' {wanted}' if wanted else ''} to go back to (former ones: {known})"
        return "", f"{reason}{_canary_of(current)}"
    if wanted and len(candidates) > 1:
        return "", f"{wanted} names {len(candidates)} former revisions; give more digits"
    for digest in candidates:
        if digest not in bred and await may_serve(digest, at):
            return digest, ""
    reason = "every former revision that fits is quarantined, not attested, or descends from the one that serves now"
    return "", f"{reason}{_canary_of(current)}"


def _canary_of(current: Deployment) -> str:
    """What a person may have meant: a revision that is only tried is no stable one to be taken back."""
    if current.rollout is None or not (tried := current.canary or current.shadow):
        return ""
    end = f"`evoline rollout abort {current.rollout.rollout_id} --reason ...`"
    return f"; {tried[:12]} is not stable, it is only rolled out: end that with {end}"


async def _moved(record: RollbackRecord, at: Guardrail) -> int | None:
    current = await at.deployments.get(record.pipeline)
    if current is None:
        return None
    if record.rollback_id in current.causes:
        return current.causes[record.rollback_id]
    if current.stable != record.from_digest:
        return None
    after = redeployed(current, record.to_digest, record.rollback_id, at.clock.now().isoformat())
    # The bad revision leaves the list of those that one may go back to.
    after = after.model_copy(update={"previous": tuple(each for each in after.previous if each != record.from_digest)})
    if not await at.deployments.swap(after, from_generation=current.generation):
        raise LostRaceError(f"the deployment of {record.pipeline} moved at this moment")
    return after.generation


def _rolled_back(record: RollbackRecord) -> PipelineRolledBack:
    to_digest, generation = record.end
    return PipelineRolledBack(
        rollback_id=record.rollback_id,
        pipeline=record.pipeline,
        from_digest=record.from_digest,
        to_digest=to_digest,
        quarantined=record.quarantined,
        reason=record.reason,
        author=record.author,
        generation=generation,
    )


def _deployed(record: RollbackRecord) -> PipelineDeployed:
    to_digest, generation = record.end
    return PipelineDeployed(
        pipeline=record.pipeline,
        digest=to_digest,
        previous_digest=record.from_digest,
        change_id=record.rollback_id,
        generation=generation,
    )


def _note(record: RollbackRecord) -> AuditNote:
    return AuditNote(
        key=f"rollback:{record.rollback_id}",
        at=record.at,
        action="rollback.refused" if record.refused else "pipeline.rolled_back",
        actor=record.author,
        subject=record.pipeline,
        digest=record.to_digest,
        facts={
            "rollback_id": record.rollback_id,
            "from_digest": record.from_digest,
            "quarantined": list(record.quarantined),
            "reason": record.refused or record.reason,
            "generation": record.generation,
        },
    )


def _second_note(record: RollbackRecord) -> AuditNote:
    first = _note(record)
    facts = {
        "rollback_id": record.rollback_id,
        "from_digest": record.from_digest,
        "reason": f"it became stable again before it was quarantined; {record.reason}",
        "generation": record.again_generation,
    }
    return first.model_copy(update={"key": f"rollback-again:{record.rollback_id}", "digest": record.again_to, "facts": facts})
