"""An approval: everything is checked again, former votes too; with the last one that it takes the change is approved."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.guardrail.domain.oversight import approvals, revoted, standing, voided
from services.guardrail.domain.records import BrokenGlass, ChangeRecord, ReviewDecision
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.applying import STALE, SUPERSEDED, apply
from services.guardrail.use_cases.judging import described, policy_names
from services.guardrail.use_cases.maturity_changes import assess_maturity
from services.guardrail.use_cases.objecting import looked_into
from services.guardrail.use_cases.policy_changes import assess_policy
from services.guardrail.use_cases.quarantine import why_not_released
from services.guardrail.use_cases.telling import outcome_key
from services.guardrail.use_cases.verdicts import ASSESSED, CHECK, approved, vetoed, written
from shared.errors import InvalidInputError, UnavailableError
from shared.identity import Registry

RECORDING_SECONDS = 60.0
"""Who decides at once may be faster than the audit entry of the queueing; after this time there is none."""


class ChangedSinceError(Exception):
    """What waits is not what was queued, or must not pass any more: the change is vetoed."""


async def approve(record: ChangeRecord, decision: ReviewDecision, at: Guardrail) -> ChangeRecord:
    """The record as queued with one vote more, approved, or vetoed where it was overtaken while it waited."""
    try:
        again = await _as_queued(record, at)
    except ChangedSinceError as error:
        given = len(approvals(record))
        reason = f"{error}; {given} approval(s) given before are void" if given else str(error)
        record = record.model_copy(update={"decisions": (*voided(record.decisions, str(error)), decision)})
        return await written(vetoed(record, at, CHECK, (reason,)), at)
    record = await _under_todays_rules(record, again, at)
    record = record.model_copy(update={"decisions": (*record.decisions, decision)})
    if decision.break_glass:
        return await _emergency(record, decision, at)
    now = standing(record, at.policy.document.reviews)
    counted = decision.model_copy(update={"missing": now.missing})
    record = record.model_copy(update={"decisions": (*record.decisions[:-1], counted)})
    if now.missing:
        return await at.changes.save(record)
    people = [each.reviewer for each in now.counted]
    said = [f"{each.reviewer}: {each.comment or 'approved without a comment'}" for each in now.counted]
    record = await written(approved(record, at, f"review:{','.join(people)}", (*record.reasons, *said)), at)
    return await apply(record, at)


async def _emergency(record: ChangeRecord, decision: ReviewDecision, at: Guardrail) -> ChangeRecord:
    now = at.clock.now()
    until = now + timedelta(hours=at.policy.document.reviews.confirm_hours)
    glass = BrokenGlass(by=decision.reviewer, reason=decision.comment, at=now.isoformat(), confirm_until=until.isoformat())
    record = record.model_copy(update={"glass": glass})
    reasons = (*record.reasons, f"{decision.reviewer} alone, in an emergency: {decision.comment}")
    record = await written(approved(record, at, f"break-glass:{decision.reviewer}", reasons), at)
    at.oversight.glass("broken")
    return await apply(record, at)


async def _under_todays_rules(record: ChangeRecord, again: ChangeRecord, at: Guardrail) -> ChangeRecord:
    """Votes that were given under another policy, by people who may not vote any more, or under a delegation that was taken back
    since, count no more."""
    decisions = record.decisions
    if record.policy_revision != at.policy.revision:
        decisions = voided(decisions, "another policy is in force since")
        record = again
    rule = at.policy.document.reviews.rule_for(record.risk)
    registry = at.identities.current()
    decisions = tuple([await _as_delegated(each, record, registry, at) for each in revoted(decisions, registry, rule)])
    return record.model_copy(update={"decisions": decisions})


async def _as_delegated(decision: ReviewDecision, record: ChangeRecord, registry: Registry, at: Guardrail) -> ReviewDecision:
    """Void where it is somebody else's vote and no delegation stands any more under which it was given."""
    owner = registry.find(decision.delegated_by) if decision.delegated_by else None
    if owner is None or decision.decision != "approve" or decision.void:
        return decision
    given = datetime.fromisoformat(decision.at)
    found = await at.delegations.between(owner.name, decision.reviewer)
    if any(each.covers(record, given) and datetime.fromisoformat(each.at) <= given for each in found):
        return decision
    return decision.model_copy(update={"void": f"{owner.name} took the delegation to {decision.reviewer} back"})


async def _as_queued(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    """The record as it would be judged now. Checks what may have changed while it waited: document, quarantine, policy, and
    what serves. Raises `ChangedSinceError`, or `UnavailableError` where the audit log may only be late."""
    queued = await at.audit.find(outcome_key(record.change_id, "queued"))
    if queued is None and _seconds_queued(record, at.clock.now()) < RECORDING_SECONDS:
        raise UnavailableError(f"the audit log does not hold yet that {record.change_id} was queued; the decision is tried again")
    if queued is None or queued.digest != record.digest:
        raise ChangedSinceError("the audit log does not hold this revision as the one that was queued")
    if record.kind in (*ASSESSED, "release"):
        return await _as_assessed(record, at)
    return await _as_compiled(record, at)


async def _as_compiled(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    try:
        look = await looked_into(record, at)
    except InvalidInputError as error:
        raise ChangedSinceError(f"the document is not valid any more: {error}") from error
    dossier = look.dossier
    if dossier.document.digest != record.digest:
        raise ChangedSinceError(
            f"the document was changed after it was queued: it is {dossier.document.digest[:12]}, queued was {record.digest[:12]}"
        )
    if look.objections:
        raise ChangedSinceError("; ".join(look.objections))
    if record.deploy and (dossier.deployment.stable if dossier.deployment else "") != record.incumbent_digest:
        raise ChangedSinceError(STALE)
    judged = at.policy.decide(policy_names(record, dossier))
    if judged.effect == "veto":
        raise ChangedSinceError("; ".join(judged.reasons))
    return described(record, dossier, at)


async def _as_assessed(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    if record.kind == "release":
        if reason := await why_not_released(record, at):
            raise ChangedSinceError(reason)
        return record.model_copy(update={"policy_revision": at.policy.revision})
    again, judged = await (assess_policy if record.kind == "policy" else assess_maturity)(record, at)
    if judged.effect == "veto":
        raise ChangedSinceError("; ".join(judged.reasons))
    if again.digest != record.digest:
        raise ChangedSinceError(
            f"it was changed after it was queued: it is {again.digest[:12]}, queued was {record.digest[:12]}; propose it again"
        )
    if again.incumbent_digest != record.incumbent_digest:
        raise ChangedSinceError(SUPERSEDED)
    return again


def _seconds_queued(record: ChangeRecord, now: datetime) -> float:
    return (now - datetime.fromisoformat(record.decided_at)).total_seconds()
