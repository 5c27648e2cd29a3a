"""What a search takes from the day's budgets before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.guardrail.domain.budgets import (
    Amounts,
    QuotaLimit,
    Reservation,
    Shortage,
    day_of,
    kind_of,
    renewal_of,
    shortages,
    times_that_fit,
)
from services.guardrail.ports import Guardrail
from shared.errors import LimitReachedError
from shared.events.changes import GrantScope

Limits = Mapping[str, Mapping[str, int]]
"""Account -> resource -> most."""
NESTED_HOLDER = "pipeline:"
"""How holders begin that are pipelines: what a run makes itself is run by the executor for it."""


async def reserve_for_scope(query: GrantScope, at: Guardrail, now: datetime) -> None:
    """Once for each scope id. Raises `LimitReachedError` naming the account, and what would fit."""
    wanted = Reservation(
        reservation_id=query.scope_id,
        day=day_of(now),
        holder=query.holder,
        purpose=query.purpose,
        accounts=SearchAccounts.of(query).names,
        amounts=Amounts.of_budget(query.budget),
        opened_at=now,
        lease_until=now + timedelta(seconds=query.seconds),
    )
    limits = limits_of(wanted.accounts, at)
    expected = Amounts.of_budget(query.estimate) if query.estimate else Amounts()
    if shortage := await _foreseen(expected, wanted, limits, at):
        raise await _refused(wanted.model_copy(update={"amounts": expected}), shortage, limits, at)
    if shortage := await at.budgets.reserve(wanted, limits):
        raise await _refused(wanted, shortage, limits, at)


@dataclass(frozen=True)
class SearchAccounts:
    """What a search is charged to."""

    purpose: str
    holder: str
    domain: str
    pipeline: str | None = None
    group_id: str | None = None

    @classmethod
    def of(cls, query: GrantScope) -> SearchAccounts:
        return cls(query.purpose, query.holder, query.domain, query.pipeline, query.group_id)

    @property
    def names(self) -> tuple[str, ...]:
        service, pipeline = self.holder, self.pipeline
        if service.startswith(NESTED_HOLDER):
            service, pipeline = "executor", pipeline or service.removeprefix(NESTED_HOLDER)
        named = [f"pipeline:{pipeline}"] if pipeline else []
        group = [f"group:{self.group_id}"] if self.group_id else []
        return ("system", f"purpose:{self.purpose}", f"service:{service}", f"domain:{self.domain}", *named, *group)


async def _foreseen(expected: Amounts, wanted: Reservation, limits: Limits, at: Guardrail) -> Shortage | None:
    """By the asker's own estimate, which may be more than what it reserves."""
    if not expected.counts():
        return None
    standings = await at.budgets.standings(wanted.day, wanted.accounts)
    return next((each for one in standings for each in shortages(expected, one, limits.get(one.account, {}))), None)


def limits_of(accounts: Sequence[str], at: Guardrail) -> dict[str, Mapping[str, int]]:
    """Account -> what policy allows it today. A purpose is bounded by its `daily` too, whatever `quotas` say."""
    return {account: limit for account in accounts if (limit := _limit_of(account, at))}


def _limit_of(account: str, at: Guardrail) -> dict[str, int]:
    policy = at.policy.document
    limit = policy.quotas.limit_of(account).counts()
    rule = policy.scopes.get(account.partition(":")[2]) if kind_of(account) == "purpose" else None
    if rule is None:
        return limit
    daily = QuotaLimit.model_validate(rule.daily.model_dump()).counts()
    return {name: min(most, limit.get(name, most)) for name, most in {**limit, **daily}.items()}


async def _refused(wanted: Reservation, shortage: Shortage, limits: Limits, at: Guardrail) -> LimitReachedError:
    fit = await _runs_that_fit(wanted, limits, at)
    advice = f"{fit:,} of the {wanted.amounts.runs:,} runs would fit" if fit else "nothing of it would fit"
    at.gauges.budget_refused(kind_of(shortage.account))
    return LimitReachedError(
        "daily_quota",
        f"{shortage}; {advice}: ask for less, or again after midnight UTC ({renewal_of(wanted.day):%Y-%m-%dT%H:%MZ}), "
        f"or have the quota raised in the policy (`evoline budget show {shortage.account}`)",
    )


async def _runs_that_fit(wanted: Reservation, limits: Limits, at: Guardrail) -> int:
    """With each run's share of what was asked for."""
    runs = wanted.amounts.runs
    if not runs:
        return 0
    each = Amounts(**{name: -(-amount // runs) for name, amount in wanted.amounts.counts().items()})
    standings = await at.budgets.standings(wanted.day, wanted.accounts)
    return times_that_fit(each, [(one, limits.get(one.account, {})) for one in standings], runs)
