"""Trial scopes: what a search may run without one verdict a candidate, bounded by policy and by what is left of the day."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.budgets import day_of
from services.guardrail.domain.policy import ScopeRule
from services.guardrail.domain.scope_records import ScopeRecord
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.reserving import reserve_for_scope
from services.guardrail.use_cases.sealed_runs import scope_attestation
from shared.errors import LimitReachedError, OutOfScopeError, PermanentError
from shared.events.changes import GrantScope
from shared.events.message import derive_id
from shared.events.values import GrantedScope, TrialScope


async def grant_scope(query: GrantScope, at: Guardrail) -> GrantedScope:
    """Raises `OutOfScopeError` with every part that policy does not allow, `LimitReachedError` where the day's quota is used up.

    The same scope id gets the same scope; with another wish it is refused. What was refused, and why, is audited: the first ones of
    a minute each for itself, the others by their number."""
    try:
        return await _granted(query, at)
    except (OutOfScopeError, LimitReachedError) as error:
        if at.refusals.is_to_be_told(query.holder, query.subject, at.clock.now()):
            await at.audit.append(_refusal(query, error, at))
        raise


async def _granted(query: GrantScope, at: Guardrail) -> GrantedScope:
    if former := await at.scopes.get(query.scope_id):
        return _same(query, former)
    rule = at.policy.document.scopes.get(query.purpose)
    if rule is None:
        raise OutOfScopeError(f"policy grants no scopes for {query.purpose!r}")
    if freeze := await at.freeze.holding("", query.domain):
        raise freeze.error
    outside = [] if at.policy.document.domains.allows(query.domain) else [f"the system does not work in domain {query.domain!r}"]
    if wrong := [*outside, *_excess(query, rule)]:
        raise OutOfScopeError("; ".join(wrong))
    now = at.clock.now()
    await reserve_for_scope(query, at, now)
    scope = _scope(query, rule, now)
    granted = GrantedScope(scope=scope, attestation=scope_attestation(scope, at))
    stored = _same(query, await at.scopes.add(query, granted, day_of(now)))
    await at.audit.append(_note(query, stored, at))
    return stored


def _excess(query: GrantScope, rule: ScopeRule) -> list[str]:
    wrong = []
    pairs = (("step type", query.step_types, rule.step_types), ("provider", query.providers, rule.providers))
    for noun, wanted, allowed in (*pairs, ("function", query.functions, rule.functions)):
        if extra := sorted(set(wanted) - set(allowed)):
            wrong.append(f"{noun} {', '.join(extra)} is not allowed for {query.purpose}")
    most = rule.budget.model_dump()
    for name, amount in query.budget.model_dump().items():
        if amount > most[name]:
            wrong.append(f"{amount:g} {name} is more than the {most[name]:g} that one scope for {query.purpose} may have")
    if query.seconds > rule.seconds:
        wrong.append(f"{query.seconds:g} seconds is more than the {rule.seconds:g} that one scope for {query.purpose} may last")
    return wrong


def _scope(query: GrantScope, rule: ScopeRule, now: datetime) -> TrialScope:
    return TrialScope(
        scope_id=query.scope_id,
        purpose=query.purpose,
        holder=query.holder,
        domain=query.domain,
        step_types=_sorted(query.step_types or rule.step_types),
        providers=_sorted(query.providers or rule.providers),
        functions=_sorted(query.functions or rule.functions),
        budget=query.budget,
        expires_at=(now + timedelta(seconds=query.seconds)).isoformat(),
    )


def _same(query: GrantScope, stored: ScopeRecord) -> GrantedScope:
    if stored.granted is None or stored.closed_at is not None:
        raise OutOfScopeError(f"scope {query.scope_id} was closed by {stored.closed_by}; choose another id")
    if stored.wish is None or not _is_same_wish(stored.wish, query):
        raise OutOfScopeError(f"scope {query.scope_id} was granted for another wish; choose another id")
    return stored.granted


def _is_same_wish(wish: GrantScope, query: GrantScope) -> bool:
    """An estimate may come out otherwise when it is made again; nothing is granted by it."""
    return wish.model_copy(update={"estimate": None}) == query.model_copy(update={"estimate": None})


def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _note(query: GrantScope, granted: GrantedScope, at: Guardrail) -> AuditNote:
    return AuditNote(
        key=f"scope:{query.scope_id}",
        at=granted.attestation.issued_at,
        action="scope.granted",
        actor=f"policy:scopes.{query.purpose}",
        subject=query.scope_id,
        digest=granted.attestation.digest,
        policy_revision=at.policy.revision,
        facts={"holder": query.holder, "domain": query.domain, "budget": query.budget.model_dump()},
    )


def _refusal(query: GrantScope, error: PermanentError, at: Guardrail) -> AuditNote:
    """The same wish refused for the same kind of reason on the same day is one entry, however often it is tried."""
    now = at.clock.now()
    wish = derive_id(query.model_dump_json(), f"{error.code}:{now.date().isoformat()}")
    return AuditNote(
        key=f"scope:{query.scope_id}:refused:{wish}",
        at=now.isoformat(),
        action="scope.refused",
        actor=f"policy:scopes.{query.purpose}",
        subject=query.scope_id,
        policy_revision=at.policy.revision,
        facts={"holder": query.holder, "domain": query.domain, "budget": query.budget.model_dump(), "reason": str(error)},
    )
