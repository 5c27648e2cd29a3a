"""Scopes end, and what they did not use is free again. Whoever settles lets executors seal the scope first: what they counted then
is all that it will ever use."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.budgets import Amounts, Reservation, day_of
from services.guardrail.domain.scope_records import ScopeRecord
from services.guardrail.ports import Guardrail, ScopeUse
from services.guardrail.use_cases.auditing import audit_refused_minutes
from services.guardrail.use_cases.budget_gauges import gauge_budgets
from services.guardrail.use_cases.production import PRODUCTION, announce_quotas
from services.guardrail.use_cases.telling import Effects
from shared.errors import UnavailableError
from shared.events.quotas import CloseScope, ScopeClosed, ScopeClosingRefused

DRAIN_SECONDS = 900.0
"""How long calls that were in flight when a scope was sealed are waited for; an executor that was lost never settles its own."""
PENDING_SECONDS = 600.0
"""After so long, a reservation for which nobody was given a scope is taken back."""
SWEPT_DAYS = 3
"""A scope lasts a day at most. What older days hold bounds nobody any more."""
LEASE_GRACE_SECONDS = 60.0
"""How long after a lease is over its executor may still tell what was used of it."""
EXPIRY = "expiry"


async def close_scope(command: CloseScope, at: Guardrail) -> Effects:
    """By its holder only. Closed again it is told again."""
    record = await at.scopes.get(command.scope_id)
    if record is None or record.wish is None:
        return _not_closed(command, "there is no such scope")
    if record.wish.holder != command.author:
        return _not_closed(command, f"it is {record.wish.holder}'s; only its holder closes it")
    now = at.clock.now()
    await at.scopes.close(command.scope_id, command.author, now)
    await at.audit.append(_note(record, command.author, command.reason, now, at))
    for reservation in await _reservations_of(record, at):
        await _try_to_settle(reservation, at)
    return [("closed", ScopeClosed(scope_id=command.scope_id, holder=command.author, reason=command.reason))]


async def sweep_budgets(at: Guardrail) -> int:
    """Settles what is over: closed and expired scopes, and reservations of which nothing came. Returns how many this guardrail
    settled; any number of them may sweep at once."""
    await announce_quotas(at)
    await audit_refused_minutes(at)
    now, settled = at.clock.now(), 0
    for reservation in await at.budgets.reservations(day_of(now - timedelta(days=SWEPT_DAYS))):
        settled += await _try_to_settle(reservation, at)
    await at.budgets.forget(day_of(now))
    await gauge_budgets(at)
    return settled


async def _try_to_settle(reservation: Reservation, at: Guardrail) -> bool:
    """One that cannot be settled now keeps nothing else from being."""
    try:
        used = await _final_use(reservation, at)
    except UnavailableError as error:
        structlog.get_logger("services.guardrail").warning(
            "a reservation is not settled yet", reservation=reservation.reservation_id, error=str(error)
        )
        return False
    if used is None:
        return False
    return await at.budgets.settle(reservation.day, reservation.reservation_id, used, at.clock.now()) is not None


async def _final_use(reservation: Reservation, at: Guardrail) -> Amounts | None:
    """None while it may still change."""
    if reservation.purpose == PRODUCTION:
        return await _used_of_lease(reservation, at)
    record, now = await at.scopes.get(reservation.reservation_id), at.clock.now()
    if record is None:
        is_pending = now < reservation.opened_at + timedelta(seconds=PENDING_SECONDS)
        if is_pending or not await at.scopes.withdraw(reservation.reservation_id, now):
            return None
        return Amounts()
    if record.day != reservation.day:
        # Withdrawn; or handed out on another day, on which it is charged.
        return Amounts()
    assert record.expires_at is not None, "a scope that was handed out expires"
    if record.closed_at is None:
        if now < record.expires_at:
            return None
        await at.scopes.close(record.scope_id, EXPIRY, now)
    use = await at.sealing.seal(record.scope_id)
    closed_at = record.closed_at or now
    if use.open_calls and now < closed_at + timedelta(seconds=DRAIN_SECONDS):
        return None
    return _charged(use, record, at)


async def _used_of_lease(reservation: Reservation, at: Guardrail) -> Amounts | None:
    """Its executor is gone, or does not know how some of its runs ended: then their documents tell."""
    if at.clock.now() < reservation.lease_until + timedelta(seconds=LEASE_GRACE_SECONDS):
        return None
    use = await at.sealing.count_lease(reservation.reservation_id)
    return None if use.running else use.used


def _charged(use: ScopeUse, record: ScopeRecord, at: Guardrail) -> Amounts:
    """Calls that never came back are charged as they were reserved, and at the dearest price that the scope could have paid."""
    if not use.open_calls:
        return use.used
    assert record.granted is not None, "sealed scopes were handed out"
    price = at.prices.dearest_usd(record.granted.scope.providers, ())
    return replace(use.used, micro_usd=use.used.micro_usd + round(use.open_tokens * price))


async def _reservations_of(record: ScopeRecord, at: Guardrail) -> list[Reservation]:
    open_ones = await at.budgets.reservations(record.day)
    return [each for each in open_ones if each.reservation_id == record.scope_id]


def _not_closed(command: CloseScope, reason: str) -> Effects:
    return [("refused", ScopeClosingRefused(scope_id=command.scope_id, author=command.author, reason=reason))]


def _note(record: ScopeRecord, author: str, reason: str, now: datetime, at: Guardrail) -> AuditNote:
    assert record.granted is not None
    return AuditNote(
        key=f"scope:{record.scope_id}:closed",
        at=now.isoformat(),
        action="scope.closed",
        actor=author,
        subject=record.scope_id,
        digest=record.granted.attestation.digest,
        policy_revision=at.policy.revision,
        facts={"reason": reason},
    )
