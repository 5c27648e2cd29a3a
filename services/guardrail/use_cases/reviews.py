"""People decide what policy left to them: who said what counts for what. The author never approves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from services.guardrail.domain.oversight import standing
from services.guardrail.domain.records import ChangeRecord, ReviewDecision
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.applying import apply
from services.guardrail.use_cases.break_glass import followed_up, glass_facts
from services.guardrail.use_cases.queries import queued_but
from services.guardrail.use_cases.seats import SeatRefusedError, recorded, seat_of
from services.guardrail.use_cases.telling import Effects, decision_note, told
from services.guardrail.use_cases.verdicts import vetoed, written
from services.guardrail.use_cases.voting import approve
from shared.errors import UnavailableError
from shared.events.changes import DecideReview, ReviewRefused
from shared.events.oversight import ReviewRecorded
from shared.identity import Signature

EXPIRED_BY = "expiry"


async def decide_review(
    command: DecideReview, at: Guardrail, *, decision_id: str, signature: Signature, body: bytes = b""
) -> Effects:
    """Idempotent by message id. `body` is the message as it was signed: it is kept with the vote."""
    record = await at.changes.get(command.change_id)
    if record is None:
        return [_refused(command, "there is no such change; see `evoline review list`")]
    known = next((each for each in record.decisions if each.decision_id == decision_id), None)
    if known:
        return await _told_again(record, known, at)
    if record.status == "expired" and record.cause == decision_id:
        return await _too_late(command, record, at)
    if reason := _why_not(command, record) or await _why_not_now(command, record, at):
        return [_refused(command, reason)]
    if record.status == "queued" and _is_expired(record, at.clock.now()):
        return await _too_late(command, await expired(record.model_copy(update={"cause": decision_id}), at), at)
    try:
        seat = await seat_of(command, record, signature, at)
    except SeatRefusedError as error:
        return [_refused(command, str(error))]
    decision = recorded(command, decision_id, seat, signature, body, at)
    effects = await _decided(record, command, decision, at)
    at.oversight.said(command.decision)
    return effects


async def _decided(record: ChangeRecord, command: DecideReview, decision: ReviewDecision, at: Guardrail) -> Effects:
    if command.decision == "comment":
        record = await at.changes.save(record.model_copy(update={"decisions": (*record.decisions, decision)}))
        return await _noted(record, decision, at)
    record = record.model_copy(update={"cause": decision.decision_id})
    if record.status == "approved":
        return await followed_up(record, decision, at)
    if command.decision == "deny":
        reason = command.comment or "denied without a comment"
        record = record.model_copy(update={"decisions": (*record.decisions, decision)})
        record = await written(vetoed(record, at, f"review:{command.reviewer}", (reason,), bars_digest=True), at)
    elif command.decision == "request_changes":
        record = await _sent_back(record, decision, at)
    else:
        record = await approve(record, decision, at)
    return await _outcome(record, decision, at)


async def _outcome(record: ChangeRecord, decision: ReviewDecision, at: Guardrail) -> Effects:
    """What a decision led to: the verdict, or one vote more."""
    if record.status == "queued":
        stored = next(each for each in record.decisions if each.decision_id == decision.decision_id)
        return await _noted(record, stored, at)
    await at.audit.append(decision_note(record, decision))
    return [*await told(record, at, with_gate=False), *await glass_facts(record, at)]


async def expire_reviews(at: Guardrail, tell: Callable[[Effects], Awaitable[None]], *, limit: int = 100) -> None:
    """Ends the reviews that nobody decided in time. Each is done once it is told, so that a crash before that tells it again; its
    effects are named by change, so that a repeat is the same."""
    board, now = await at.freeze.read(), at.clock.now()
    waiting = await queued_but(
        lambda record: _is_expired(record, now) and board.holding(record.pipeline, record.domain) is not None, limit, at
    )
    at.gauges.reviews_waiting(len(waiting))
    for record in waiting:
        if _is_expired(record, now):
            await expired(record.model_copy(update={"untold": True}), at)
    for record in await at.changes.untold(limit):
        facts = await told(record, at, with_gate=False)
        await tell([(f"{record.change_id}:{effect}", fact) for effect, fact in facts])
        await at.changes.save(record.model_copy(update={"untold": False}))


async def _too_late(command: DecideReview, record: ChangeRecord, at: Guardrail) -> Effects:
    """The expiry that this decision brought to light, told by it, however often it is delivered."""
    refused = _refused(command, f"the review ended at {record.expires_at}; have it proposed again")
    return [*await told(record, at, with_gate=False), refused]


async def expired(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    now = standing(record, at.policy.document.reviews)
    votes = f" ({len(now.counted)} of {now.rule.votes} approvals were given)" if now.counted else ""
    update = {
        "status": "expired",
        "decided_by": EXPIRED_BY,
        "reasons": (f"nobody decided until {record.expires_at}{votes}; propose it again",),
        "decided_at": at.clock.now().isoformat(),
    }
    return await at.changes.save(record.model_copy(update=update))


async def _sent_back(record: ChangeRecord, decision: ReviewDecision, at: Guardrail) -> ChangeRecord:
    update = {
        "status": "changes_requested",
        "decided_by": f"review:{decision.reviewer}",
        "reasons": (decision.comment,),
        "decided_at": at.clock.now().isoformat(),
        "expires_at": "",
        "decisions": (*record.decisions, decision),
    }
    return await at.changes.save(record.model_copy(update=update))


async def _told_again(record: ChangeRecord, decision: ReviewDecision, at: Guardrail) -> Effects:
    """A redelivery: carries out what a crash left undone, and says the same again."""
    if record.is_open:
        raise UnavailableError(f"change {record.change_id} is judged at this moment")
    if decision.decision == "comment" or (decision.missing and decision.decision == "approve"):
        return await _noted(record, decision, at)
    if record.glass and not decision.break_glass:
        return await followed_up(record, decision, at)
    if record.status == "approved":
        record = await apply(record, at)
    return await _outcome(record, decision, at)


async def _noted(record: ChangeRecord, decision: ReviewDecision, at: Guardrail) -> Effects:
    await at.audit.append(decision_note(record, decision))
    now = standing(record, at.policy.document.reviews)
    fact = ReviewRecorded(
        change_id=record.change_id,
        pipeline=record.pipeline,
        digest=record.digest,
        reviewer=decision.reviewer,
        decision="comment" if decision.decision == "comment" else "approve",
        comment=decision.comment,
        votes=len(now.counted),
        missing=now.missing if decision.decision == "comment" else decision.missing,
        role=now.rule.role,
        voided=tuple(f"{each.reviewer}: {each.void}" for each in record.decisions if each.void),
    )
    return [("recorded", fact)]


def _why_not(command: DecideReview, record: ChangeRecord) -> str:
    glass_is_open = record.status == "approved" and record.glass is not None and record.glass.status == "open"
    if command.decision == "comment":
        return "" if command.comment else "a comment says something: set `comment`"
    if record.status != "queued" and not (glass_is_open and command.decision in ("approve", "deny")):
        return f"the change is {record.status}: only what is queued can be decided"
    if command.decision == "request_changes" and not command.comment:
        return "whoever wants changes says which: set `comment`"
    if command.decision == "approve" and not command.digest:
        return "an approval names the revision that was seen: set `digest` to the one of `evoline review show`"
    if command.decision == "approve" and command.digest != record.digest:
        return f"the approval is for {command.digest[:12]}, but the change is {record.digest[:12]}: look at it again"
    if command.break_glass and record.kind in ("policy", "maturity", "release"):
        return f"a {record.kind} takes all its votes, in an emergency too: ask the others"
    if command.break_glass and (command.decision != "approve" or not command.comment or command.delegated_by or glass_is_open):
        return "an emergency approval is one's own approval of a waiting change, with the reason in `comment`"
    return ""


async def _why_not_now(command: DecideReview, record: ChangeRecord, at: Guardrail) -> str:
    freeze = await at.freeze.holding(record.pipeline, record.domain) if command.decision == "approve" else None
    return str(freeze.error) if freeze else ""


def _is_expired(record: ChangeRecord, now: datetime) -> bool:
    return bool(record.expires_at) and datetime.fromisoformat(record.expires_at) <= now


def _refused(command: DecideReview, reason: str) -> tuple[str, ReviewRefused]:
    return "refused", ReviewRefused(change_id=command.change_id, reviewer=command.reviewer, reason=reason)
