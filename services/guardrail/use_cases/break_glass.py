"""Approvals in an emergency: told loudly, confirmed by somebody else in time, or taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.records import BrokenGlass, ChangeRecord, ReviewDecision
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.rollbacks import roll_back
from services.guardrail.use_cases.taking_out import Cause, take_out
from services.guardrail.use_cases.telling import Effects, decision_note
from shared.events.deployments import RollbackPipeline
from shared.events.message import derive_id
from shared.events.oversight import GlassBroken, GlassConfirmed, GlassLapsed

EXPIRY = "expiry"
SWEPT = 100
TAKEN_BACK_BY = "guardrail"


async def glass_facts(record: ChangeRecord, at: Guardrail) -> Effects:
    """What is told beside the verdict of an approval in an emergency."""
    if record.glass is None or record.status != "approved":
        return []
    await at.audit.append(_note(record, record.glass, "broken", record.glass.by, record.glass.at))
    fact = GlassBroken(
        change_id=record.change_id,
        pipeline=record.pipeline,
        digest=record.digest,
        by=record.glass.by,
        reason=record.glass.reason,
        confirm_until=record.glass.confirm_until,
    )
    return [("glass_broken", fact)]


async def followed_up(record: ChangeRecord, decision: ReviewDecision, at: Guardrail) -> Effects:
    """Somebody else looked at it afterwards: it stays, or it goes. Repeatable."""
    assert record.glass is not None, "only an emergency approval is looked at again"
    if record.glass.status == "open":
        ending = {"status": "confirmed" if decision.decision == "approve" else "lapsing", "ended_by": decision.reviewer}
        glass = record.glass.model_copy(update={**ending, "ended_reason": decision.comment})
        record = record.model_copy(update={"glass": glass, "decisions": (*record.decisions, decision)})
        record = await at.changes.save(record)
    assert record.glass is not None, "it does not vanish"
    await at.audit.append(decision_note(record, decision))
    if record.glass.status != "confirmed":
        at.oversight.glass("rejected")
        effects = await _taken_back(record, at)
        if record.glass.status == "lapsing":
            # Done, or it would stand for ever among those that are looked at.
            await at.changes.save(record.model_copy(update={"glass": record.glass.model_copy(update={"status": "lapsed"})}))
        return effects
    await at.audit.append(_note(record, record.glass, "confirmed", decision.reviewer, decision.at))
    at.oversight.glass("confirmed")
    fact = GlassConfirmed(change_id=record.change_id, pipeline=record.pipeline, digest=record.digest, by=decision.reviewer)
    return [("glass_confirmed", fact)]


async def lapse_glass(at: Guardrail, tell: Callable[[Effects], Awaitable[None]]) -> None:
    """Takes back what nobody confirmed in time. It is done once it is told, so that a crash before that repeats it."""
    found = await at.changes.with_broken_glass(SWEPT)
    at.oversight.glass_open(sum(1 for each in found if each.glass and each.glass.status == "open"))
    for each in found:
        record = await _overdue(each, at)
        glass = record.glass
        if glass and glass.status == "lapsing" and glass.ended_by == EXPIRY:
            await tell([(f"{record.change_id}:{effect}", fact) for effect, fact in await _taken_back(record, at)])
            await at.changes.save(record.model_copy(update={"glass": glass.model_copy(update={"status": "lapsed"})}))
            at.oversight.glass("lapsed")


async def _overdue(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    """The record, about to be taken back where its time is over. The intent is written before anything is done."""
    glass = record.glass
    if glass is None or glass.status != "open" or datetime.fromisoformat(glass.confirm_until) > at.clock.now():
        return record
    reason = f"nobody confirmed until {glass.confirm_until} what {glass.by} approved alone"
    glass = glass.model_copy(update={"status": "lapsing", "ended_by": EXPIRY, "ended_reason": reason})
    return await at.changes.save(record.model_copy(update={"glass": glass}))


async def _taken_back(record: ChangeRecord, at: Guardrail) -> Effects:
    """Rolled back where it serves; quarantined with what was made from it in any case. Repeatable."""
    glass = record.glass
    assert glass is not None, "only an emergency approval is taken back"
    effects: Effects = []
    reason = glass.ended_reason or f"{glass.ended_by} rejected what {glass.by} approved alone"
    cause = derive_id(record.change_id, "glass")
    deployment = await at.deployments.get(record.pipeline)
    if deployment is not None and (deployment.stable == record.digest or cause in deployment.causes):
        command = RollbackPipeline(rollback_id=cause, pipeline=record.pipeline, reason=reason[:2000], author=TAKEN_BACK_BY)
        effects += await roll_back(command, at)
    await take_out(record.digest, (), Cause(cause, TAKEN_BACK_BY, reason, at.clock.now().isoformat()), at)
    await at.audit.append(_note(record, glass, "lapsed", glass.ended_by, at.clock.now().isoformat()))
    fact = GlassLapsed(change_id=record.change_id, pipeline=record.pipeline, digest=record.digest, by=glass.ended_by, reason=reason)
    return [*effects, ("glass_lapsed", fact)]


def _note(record: ChangeRecord, glass: BrokenGlass, what: str, actor: str, moment: str) -> AuditNote:
    return AuditNote(
        key=f"glass:{record.change_id}:{what}",
        at=moment,
        action=f"glass.{what}",
        actor=actor,
        subject=record.pipeline,
        digest=record.digest,
        policy_revision=record.policy_revision,
        facts={
            "change_id": record.change_id,
            "by": glass.by,
            "reason": glass.reason,
            "confirm_until": glass.confirm_until,
            "ended_by": glass.ended_by,
            "ended_reason": glass.ended_reason,
        },
    )
