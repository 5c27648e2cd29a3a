"""Quotas of production runs: executors lease parts of them, use them up run by run, and tell what was used."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.budgets import (
    Amounts,
    Reservation,
    Shortage,
    day_of,
    kind_of,
    production_accounts,
    renewal_of,
    spoken,
    times_that_fit,
)
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.reserving import limits_of
from shared.errors import LimitReachedError, UnavailableError
from shared.events.quotas import LeaseQuota, ReportUse

LEASE_SECONDS = 120.0
MOST_OF_WHAT_IS_LEFT = 4
"""One lease takes at most this fraction of it, so that other executors find some too."""
_TRIES = 5
PRODUCTION = "production"


async def lease_quota(query: LeaseQuota, at: Guardrail) -> dict[str, Any]:
    """Raises `LimitReachedError` where not even one run fits, which is in the audit log once a day, account and resource."""
    now = at.clock.now()
    each = Amounts.of_spent(query.per_run)
    wanted = Reservation(
        reservation_id=query.lease_id,
        day=day_of(now),
        holder=query.holder,
        purpose=PRODUCTION,
        accounts=production_accounts(query.pipeline, query.domain, nested=query.nested),
        amounts=each,
        opened_at=now,
        lease_until=now + timedelta(seconds=LEASE_SECONDS),
    )
    limits = limits_of(wanted.accounts, at)
    for _ in range(_TRIES):
        standings = await at.budgets.standings(wanted.day, wanted.accounts)
        fit = times_that_fit(each, [(one, limits.get(one.account, {})) for one in standings], MOST_OF_WHAT_IS_LEFT * query.runs)
        runs = max(1, min(query.runs, fit // MOST_OF_WHAT_IS_LEFT))
        shortage = await at.budgets.reserve(wanted.model_copy(update={"amounts": each.times(runs)}), limits)
        if shortage is None:
            amounts = each.times(runs).spent().model_dump()
            return {"lease_id": query.lease_id, "runs": runs, "amounts": amounts, "seconds": LEASE_SECONDS}
        if runs == 1:
            raise await _exhausted(wanted, shortage, at)
    raise UnavailableError(f"too many executors lease quotas of {query.pipeline} at this moment")


async def report_use(query: ReportUse, at: Guardrail) -> dict[str, Any]:
    now = at.clock.now()
    used: dict[str, Amounts] = {}
    for use in query.uses:
        for account in production_accounts(use.pipeline, use.domain, nested=use.nested):
            used[account] = used.get(account, Amounts()).plus(Amounts.of_spent(use.used))
    if used:
        await at.budgets.count(query.report_id, query.day, used, now)
    settled = [lease_id for lease_id, spent in query.leases.items() if await _settled(lease_id, Amounts.of_spent(spent), at)]
    return {"settled": settled}


async def _settled(lease_id: str, used: Amounts, at: Guardrail) -> bool:
    now = at.clock.now()
    days = (day_of(now), day_of(now - timedelta(days=1)))
    return any([await at.budgets.settle(day, lease_id, used, now) is not None for day in days])


async def announce_quotas(at: Guardrail) -> None:
    """Executors read which production runs are bounded. What became of the quotas with this policy is in the audit log."""
    rules = at.policy.document.quotas
    if not await at.budgets.announce(at.policy.revision, rules.production_bounds()):
        return
    note = AuditNote(
        key=f"quotas:{at.policy.revision}",
        at=at.clock.now().isoformat(),
        action="quotas.changed",
        actor=f"policy:{at.policy.document.policy}",
        subject="quotas",
        policy_revision=at.policy.revision,
        facts={"quotas": rules.model_dump(mode="json", exclude_none=True)},
    )
    await at.audit.append(note)


async def _exhausted(wanted: Reservation, shortage: Shortage, at: Guardrail) -> LimitReachedError:
    note = AuditNote(
        key=f"quota:{wanted.day}:{shortage.account}:{shortage.resource}",
        at=wanted.opened_at.isoformat(),
        action="quota.exhausted",
        actor=f"policy:quotas.{shortage.account}",
        subject=shortage.account,
        policy_revision=at.policy.revision,
        facts={"resource": spoken(shortage.resource), "limit": shortage.limit, "asked": shortage.asked},
    )
    at.gauges.budget_refused(kind_of(shortage.account))
    await at.audit.append(note)
    return LimitReachedError(
        "quota_exhausted",
        f"{shortage}: production runs start again after midnight UTC ({renewal_of(wanted.day):%Y-%m-%dT%H:%MZ}), or once what "
        f"others hold is given back; see `evoline budget show {shortage.account}`",
    )
