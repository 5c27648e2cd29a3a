"""Votes given into somebody else's hands: within a scope, until a moment, and no further."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.authority import ADMIN
from services.guardrail.domain.oversight import Delegation
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.telling import Effects
from shared.events.oversight import (
    DelegateReviews,
    DelegationRefused,
    DelegationRevoked,
    ListDelegations,
    ReviewsDelegated,
    RevokeDelegation,
)
from shared.identity import Signature

LONGEST = timedelta(days=90)


async def delegate_reviews(command: DelegateReviews, at: Guardrail) -> Effects:
    """Idempotent by delegation id: a repeat, with whatever content, is answered with what the first one became."""
    delegate = at.identities.current().find(command.delegate)
    record = await at.delegations.open(
        Delegation(
            delegation_id=command.delegation_id,
            delegator=command.author,
            # As the registry writes it, which is how whoever votes is named.
            delegate=delegate.name if delegate else command.delegate,
            scope=command.scope,
            until=command.until,
            reason=command.reason,
            at=at.clock.now().isoformat(),
            refused=_why_not(command, at),
        )
    )
    await at.audit.append(_note(record, "refused" if record.refused else "given", record.delegator, record.at))
    if record.refused:
        return [("refused", DelegationRefused(delegation_id=record.delegation_id, reason=record.refused))]
    fields = record.model_dump(include={"delegation_id", "delegator", "delegate", "scope", "until"})
    return [("delegated", ReviewsDelegated.model_validate(fields))]


async def revoke_delegation(command: RevokeDelegation, at: Guardrail, *, signature: Signature) -> Effects:
    """By its delegator or an admin. Votes that were given under it before do not count for what is not decided yet."""
    record = await at.delegations.get(command.delegation_id)
    if record is None or record.refused:
        return [_no(command, "there is no such delegation; see `evoline review delegations`")]
    admin = signature.identity is not None and ADMIN in signature.identity.roles
    if command.author != record.delegator and not admin:
        return [_no(command, f"only {record.delegator} or somebody with the role {ADMIN} takes it back")]
    record = await at.delegations.revoke(record, at.clock.now().isoformat())
    await at.audit.append(_note(record, "revoked", command.author, record.revoked))
    fact = DelegationRevoked(
        delegation_id=record.delegation_id, delegator=record.delegator, delegate=record.delegate, by=command.author
    )
    return [("revoked", fact)]


async def list_delegations(query: ListDelegations, at: Guardrail) -> dict[str, Any]:
    found = await at.delegations.latest(query.limit)
    return {"delegations": [each.model_dump(mode="json", exclude={"refused"}) for each in found]}


def _why_not(command: DelegateReviews, at: Guardrail) -> str:
    registry, now = at.identities.current(), at.clock.now()
    delegate, delegator = registry.find(command.delegate), registry.find(command.author)
    if delegate is None or delegate.revoked or delegate.kind != "person":
        return f"{command.delegate!r} is no person of identities.yaml who may act now; see `evoline people list`"
    if delegator is None or delegate.key_id == delegator.key_id:
        return "nobody delegates to themselves: one person has one vote"
    try:
        until = datetime.fromisoformat(command.until)
    except ValueError:
        return f"{command.until!r} is no RFC 3339 time; write it as 2026-12-24T18:00:00+00:00"
    if until.tzinfo is None:
        return f"{command.until} has no time zone; write it as 2026-12-24T18:00:00+00:00"
    if not now < until <= now + LONGEST:
        return f"a delegation ends in the future, within {LONGEST.days} days; {command.until} is not"
    return ""


def _no(command: RevokeDelegation, reason: str) -> tuple[str, DelegationRefused]:
    return "refused", DelegationRefused(delegation_id=command.delegation_id, reason=reason)


def _note(record: Delegation, what: str, actor: str, moment: str) -> AuditNote:
    return AuditNote(
        key=f"delegation:{record.delegation_id}:{what}",
        at=moment,
        action=f"delegation.{what}",
        actor=actor,
        subject=record.delegate,
        facts=record.model_dump(mode="json"),
    )
