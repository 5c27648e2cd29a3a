"""People decide what policy left to them. An author never approves; what is approved is exactly what was queued."""

from __future__ import annotations

from datetime import datetime

from services.guardrail.domain.authors import is_person
from services.guardrail.domain.records import ChangeRecord, ReviewDecision
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.applying import STALE, SUPERSEDED, apply
from services.guardrail.use_cases.judging import compiled, objections, policy_names
from services.guardrail.use_cases.maturity_changes import assess_maturity
from services.guardrail.use_cases.policy_changes import assess_policy
from services.guardrail.use_cases.propose import CHECK, approved, vetoed
from services.guardrail.use_cases.quarantine import why_not_released
from services.guardrail.use_cases.telling import Effects, outcome_key, told
from shared.errors import InvalidInputError, UnavailableError
from shared.events.changes import DecideReview, ReviewRefused

EXPIRED_BY = "expiry"
RECORDING_SECONDS = 60.0
"""Who decides at once may be faster than the audit entry of the queueing; after this time there is none."""


async def decide_review(command: DecideReview, at: Guardrail, *, decision_id: str) -> Effects:
    record = await at.changes.get(command.change_id)
    if record is None:
        return [_refused(command, "there is no such change")]
    if any(each.decision_id == decision_id for each in record.decisions) and not record.is_open and record.status != "queued":
        return await told(await apply(record, at) if record.status == "approved" else record, at, with_gate=False)
    if reason := _why_not(command, record) or await _why_not_now(command, record, at):
        return [_refused(command, reason)]
    if _is_expired(record, at.clock.now()):
        return [
            *await told(await expired(record, at), at, with_gate=False),
            _refused(command, f"the review ended at {record.expires_at}"),
        ]
    record = _with_decision(record, command, decision_id, at)
    if command.decision == "deny":
        reason = command.comment or "denied without a comment"
        record = await vetoed(record, at, f"review:{command.reviewer}", (reason,), bars_digest=True)
    else:
        record = await _approve(record, command, at)
    return await told(record, at, with_gate=False)


async def expire_reviews(at: Guardrail, *, limit: int = 100) -> Effects:
    """Ends the reviews that nobody decided in time. Their effects are named by change, so that a repeat tells the same."""
    waiting = await at.changes.queued(limit)
    at.gauges.reviews_waiting(len(waiting))
    effects: Effects = []
    for record in waiting:
        if _is_expired(record, at.clock.now()) and not await at.freeze.holding(record.pipeline, record.domain):
            facts = await told(await expired(record, at), at, with_gate=False)
            effects += [(f"{record.change_id}:{effect}", fact) for effect, fact in facts]
    return effects


async def expired(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    update = {
        "status": "expired",
        "decided_by": EXPIRED_BY,
        "reasons": (f"nobody decided until {record.expires_at}; propose it again",),
        "decided_at": at.clock.now().isoformat(),
    }
    return await at.changes.save(record.model_copy(update=update))


async def _approve(record: ChangeRecord, command: DecideReview, at: Guardrail) -> ChangeRecord:
    """Checks again what may have changed while it waited: document, quarantine, policy, and what serves now."""
    if reason := await _not_as_queued(record, at):
        return await vetoed(record, at, CHECK, (reason,))
    by, comment = f"review:{command.reviewer}", command.comment or "approved without a comment"
    record = await approved(record, at, by, (*record.reasons, f"{command.reviewer}: {comment}"))
    return await apply(record, at)


async def _not_as_queued(record: ChangeRecord, at: Guardrail) -> str:
    queued = await at.audit.find(outcome_key(record.change_id, "queued"))
    if queued is None and _seconds_queued(record, at.clock.now()) < RECORDING_SECONDS:
        raise UnavailableError(f"the audit log does not hold yet that {record.change_id} was queued; the decision is tried again")
    if queued is None or queued.digest != record.digest:
        return "the audit log does not hold this revision as the one that was queued"
    if record.kind in ("policy", "maturity"):
        return await _not_as_assessed(record, at)
    if record.kind == "release":
        return await why_not_released(record, at)
    try:
        dossier = await compiled(record, at)
    except InvalidInputError as error:
        return f"the document is not valid any more: {error}"
    if dossier.document.digest != record.digest:
        return (
            f"the document was changed after it was queued: it is {dossier.document.digest[:12]}, queued was {record.digest[:12]}"
        )
    if found := await objections(record, dossier, at):
        return "; ".join(found)
    if record.deploy and (dossier.deployment.stable if dossier.deployment else "") != record.incumbent_digest:
        return STALE
    decision = at.policy.decide(policy_names(record, dossier))
    return "; ".join(decision.reasons) if decision.effect == "veto" else ""


async def _not_as_assessed(record: ChangeRecord, at: Guardrail) -> str:
    again, decision = await (assess_policy if record.kind == "policy" else assess_maturity)(record, at)
    if decision.effect == "veto":
        return "; ".join(decision.reasons)
    if again.digest != record.digest:
        return f"it was changed after it was queued: it is {again.digest[:12]}, queued was {record.digest[:12]}; propose it again"
    return SUPERSEDED if again.incumbent_digest != record.incumbent_digest else ""


def _seconds_queued(record: ChangeRecord, now: datetime) -> float:
    return (now - datetime.fromisoformat(record.decided_at)).total_seconds()


def _why_not(command: DecideReview, record: ChangeRecord) -> str:
    if record.status != "queued":
        return f"the change is {record.status}: only what is queued can be decided"
    if not is_person(command.reviewer):
        return f"{command.reviewer!r} is no person: reviews are for people"
    if command.decision == "approve" and command.reviewer.casefold() == record.author.casefold():
        return "an author never approves: ask somebody else"
    return ""


async def _why_not_now(command: DecideReview, record: ChangeRecord, at: Guardrail) -> str:
    freeze = await at.freeze.holding(record.pipeline, record.domain) if command.decision == "approve" else None
    return str(freeze.error) if freeze else ""


def _with_decision(record: ChangeRecord, command: DecideReview, decision_id: str, at: Guardrail) -> ChangeRecord:
    decision = ReviewDecision(
        decision_id=decision_id,
        reviewer=command.reviewer,
        decision=command.decision,
        comment=command.comment,
        at=at.clock.now().isoformat(),
    )
    return record.model_copy(update={"decisions": (*record.decisions, decision), "cause": decision_id})


def _is_expired(record: ChangeRecord, now: datetime) -> bool:
    return bool(record.expires_at) and datetime.fromisoformat(record.expires_at) <= now


def _refused(command: DecideReview, reason: str) -> tuple[str, ReviewRefused]:
    return "refused", ReviewRefused(change_id=command.change_id, reviewer=command.reviewer, reason=reason)
