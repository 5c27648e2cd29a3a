"""Whose vote a decision is, and what is kept of it."""

from __future__ import annotations

from services.guardrail.domain.authority import ADMIN, REVIEWER
from services.guardrail.domain.oversight import Seat, why_no_seat
from services.guardrail.domain.records import ChangeRecord, ReviewDecision
from services.guardrail.ports import Guardrail
from shared.events.changes import DecideReview
from shared.identity import Identity, Signature


class SeatRefusedError(Exception):
    """This person's decision does not count here."""


async def seat_of(command: DecideReview, record: ChangeRecord, signature: Signature, at: Guardrail) -> Seat:
    """Raises `SeatRefusedError` with the reason and what to do."""
    voter = signature.identity
    if voter is None or voter.kind != "person" or voter.name.casefold() != command.reviewer.casefold():
        raise SeatRefusedError(f"{command.reviewer!r} is no person who signed it: reviews are for people")
    seat = Seat(voter, await _owner(command, record, voter, at))
    if not {REVIEWER, ADMIN} & set(seat.owner.roles):
        raise SeatRefusedError(f"{seat.owner.name} does not have the role {REVIEWER}: ask somebody who has it")
    if command.decision != "approve":
        return seat
    registry, rule = at.identities.current(), at.policy.document.reviews.rule_for(record.risk)
    if record.status == "queued" and not command.break_glass:
        reason = why_no_seat(seat, record, rule, registry)
    else:
        # An emergency, or its confirmation: whoever approved before does not confirm, and an admin breaks the glass alone.
        reason = _why_not_alone(command, seat) or why_no_seat(seat, _of_one_vote(record, command), rule, registry)
    if reason:
        raise SeatRefusedError(reason)
    return seat


async def _owner(command: DecideReview, record: ChangeRecord, voter: Identity, at: Guardrail) -> Identity:
    """The voter, or whoever delegated to the voter. A delegated vote is not passed on: its owner has to have the role."""
    if not command.delegated_by:
        return voter
    owner, now = at.identities.current().find(command.delegated_by), at.clock.now()
    if owner is None or owner.revoked or owner.kind != "person":
        raise SeatRefusedError(f"{command.delegated_by} is nobody who may vote now, so nobody votes in that place")
    found = await at.delegations.between(owner.name, voter.name)
    if not any(each.covers(record, now) for each in found):
        raise SeatRefusedError(
            f"{owner.name} has not delegated reviews of this change to {voter.name} at this time; see `evoline review delegations`"
        )
    return owner


def _why_not_alone(command: DecideReview, seat: Seat) -> str:
    if command.break_glass and ADMIN not in seat.voter.roles:
        return f"an emergency approval takes the role {ADMIN}, which {seat.voter.name} does not have"
    return ""


def _of_one_vote(record: ChangeRecord, command: DecideReview) -> ChangeRecord:
    """In an emergency former votes do not matter; for its confirmation that one does."""
    alone = tuple(each for each in record.decisions if each.break_glass and not command.break_glass)
    return record.model_copy(update={"decisions": alone})


def recorded(
    command: DecideReview, decision_id: str, seat: Seat, signature: Signature, body: bytes, at: Guardrail
) -> ReviewDecision:
    return ReviewDecision(
        decision_id=decision_id,
        reviewer=command.reviewer,
        decision=command.decision,
        comment=command.comment,
        at=at.clock.now().isoformat(),
        digest=command.digest,
        delegated_by=command.delegated_by,
        break_glass=command.break_glass,
        key_ids=seat.keys,
        policy_revision=at.policy.revision,
        proof=signature.proof,
        body=body.decode("utf-8", errors="replace"),
    )
