"""What is left of the day's budgets, who holds what, and what a search would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from services.guardrail.domain.budgets import (
    RESOURCES,
    Amounts,
    Reservation,
    Shortage,
    Standing,
    day_of,
    fullest_share,
    kind_of,
    renewal_of,
    shortages,
    spoken,
    times_that_fit,
)
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.queries import resolved
from services.guardrail.use_cases.reserving import SearchAccounts, limits_of
from shared.errors import InvalidInputError, Problem
from shared.events.quotas import EstimateCost, ListBudgets, ListReservations, Spent
from shared.pipeline.document import Document
from shared.pipeline.facts import DocumentFacts, document_facts
from shared.pipeline.loading import load_document

Told = dict[str, Any]
_DAYS_LOOKED_BACK = 3


async def list_budgets(query: ListBudgets, at: Guardrail) -> Told:
    """Raises `InvalidInputError` for what is no account."""
    day = query.day or day_of(at.clock.now())
    standings = await at.budgets.standings(day, _named(query.account))
    limits = limits_of([each.account for each in standings], at)
    rows = [_row(each, limits.get(each.account, {})) for each in standings]
    rows.sort(key=lambda row: (row["share"] is None, -(row["share"] or 0.0), row["account"]))
    return {"day": day, "renews_at": renewal_of(day).isoformat(), "accounts": rows[: query.limit]}


async def list_reservations(query: ListReservations, at: Guardrail) -> Told:
    """Without a day those of the last days too: a search may go on over midnight."""
    now = at.clock.now()
    named = _named(query.account)
    found = await at.budgets.reservations(query.day or day_of(now - timedelta(days=_DAYS_LOOKED_BACK)))
    wanted = [each for each in found if query.day in (None, each.day) and (not named or named[0] in each.accounts)]
    return {"day": query.day or day_of(now), "reservations": [_reservation(each) for each in wanted[: query.limit]]}


async def estimate_cost(query: EstimateCost, at: Guardrail) -> Told:
    """Raises `InvalidInputError`, `NotFoundError`."""
    document = await _document(query, at)
    facts = document_facts(document)
    each = _per_run(document, facts, at)
    accounts = _accounts(query, document)
    limits = limits_of(accounts, at)
    day = day_of(at.clock.now())
    standings = await at.budgets.standings(day, accounts)
    total = each.times(query.runs)
    short = [shortage for one in standings for shortage in shortages(total, one, limits.get(one.account, {}))]
    fit = times_that_fit(each, [(one, limits.get(one.account, {})) for one in standings], query.runs)
    return {
        "pipeline": document.name,
        "runs": query.runs,
        "per_run": each.spent().model_dump(),
        "total": total.spent().model_dump(),
        "fits": not short,
        "runs_that_fit": fit,
        "short": [_short(shortage, day) for shortage in short],
        "dearest_usd": at.prices.dearest_usd(facts.families, facts.models),
    }


def _accounts(query: EstimateCost, document: Document) -> tuple[str, ...]:
    domain = query.domain or document.domain
    if query.purpose == "production":
        return ("system", f"production_domain:{domain}", f"production_pipeline:{document.name}")
    return SearchAccounts(query.purpose, query.holder, domain, document.name).names


async def _document(query: EstimateCost, at: Guardrail) -> Document:
    if (query.pipeline is None) == (query.document is None):
        raise InvalidInputError(Problem(path="pipeline", reason="name a pipeline, or give a document, and not both"))
    if query.document is not None:
        return load_document(query.document)
    assert query.pipeline is not None
    return load_document((await resolved(query.pipeline, at)).document)


def _per_run(document: Document, facts: DocumentFacts, at: Guardrail) -> Amounts:
    """Of a run without retries, and without what is inserted into its prompts; what it may use at most are the document's limits.
    Time is not estimated."""
    calls = min(facts.estimated_calls, document.limits.calls)
    tokens = min(facts.estimated_tokens, document.limits.tokens)
    price = at.prices.dearest_usd(facts.families, facts.models)
    micro_usd = min(round(tokens * price), round(document.limits.cost_usd * 1_000_000))
    return Amounts(runs=1, calls=calls, tokens=tokens, micro_usd=micro_usd)


def _named(account: str | None) -> Sequence[str] | None:
    if account is None:
        return None
    try:
        kind_of(account)
    except ValueError as error:
        suggestion = "write it as `evoline budget list` shows it: system, pipeline:NAME, ..."
        raise InvalidInputError(Problem(path="account", reason=str(error), suggestion=suggestion)) from error
    return [account]


def _row(standing: Standing, limits: Mapping[str, int]) -> Told:
    return {
        "account": standing.account,
        "kind": kind_of(standing.account),
        "used": standing.used.spent().model_dump(),
        "reserved": standing.reserved.spent().model_dump(),
        "limits": {spoken(name): _amount(name, most) for name, most in limits.items()},
        "share": fullest_share(standing, limits),
    }


def _amount(resource: str, amount: int) -> float:
    """As people count it."""
    spent: Spent = Amounts(**{name: amount if name == resource else 0 for name in RESOURCES}).spent()
    return float(getattr(spent, spoken(resource)))


def _reservation(reservation: Reservation) -> Told:
    told = reservation.model_dump(mode="json", exclude={"amounts"})
    return {**told, "amounts": reservation.amounts.spent().model_dump()}


def _short(shortage: Shortage, day: str) -> Told:
    resource = shortage.resource
    amounts = {name: _amount(resource, getattr(shortage, name)) for name in ("limit", "left", "asked")}
    renews_at = renewal_of(day).isoformat()
    return {"account": shortage.account, "resource": spoken(resource), **amounts, "renews_at": renews_at, "text": str(shortage)}
