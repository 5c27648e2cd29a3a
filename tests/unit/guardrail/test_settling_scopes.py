from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.guardrail.adapters.budgets import MongoBudgets
from services.guardrail.adapters.scopes import MongoScopes
from services.guardrail.domain.budgets import Amounts, day_of
from services.guardrail.ports import Guardrail, ScopeUse
from services.guardrail.use_cases import close_scope, grant_scope, sweep_budgets
from services.guardrail.use_cases.settling import DRAIN_SECONDS, PENDING_SECONDS
from shared.errors import LimitReachedError, OutOfScopeError, UnavailableError
from shared.events.changes import GrantScope
from shared.events.quotas import CloseScope, ScopeClosed, ScopeClosingRefused
from tests.fakes.durable_boundaries import Boundaries, Place, WatchedDatabase
from tests.fakes.guardrail import Bench, bench, facts
from tests.unit.guardrail.test_scopes_and_measures import wish

USED = Amounts(runs=3, calls=9, tokens=900, micro_usd=1_500_000)


async def charged(at: Bench, account: str = "service:generator") -> Amounts:
    (standing,) = await at.at.budgets.standings(day_of(at.clock.now()), [account])
    return standing.total


async def closed(at: Bench, author: str = "generator", scope_id: str = "s1") -> Any:
    (fact,) = facts(await close_scope(CloseScope(scope_id=scope_id, author=author), at.at))
    return fact


async def test_a_scope_touches_every_account_that_it_belongs_to() -> None:
    at = bench()
    await grant_scope(wish(holder="pipeline:triage", group_id="request-1"), at.at)
    await grant_scope(wish("s2", pipeline="other"), at.at)
    standings = await at.at.budgets.standings(day_of(at.clock.now()))
    assert {each.account: each.total.runs for each in standings} == {
        "system": 200,
        "purpose:generation": 200,
        "domain:support": 200,
        "service:executor": 100,
        "service:generator": 100,
        "pipeline:triage": 100,
        "pipeline:other": 100,
        "group:request-1": 100,
    }


async def test_a_closed_scope_keeps_what_executors_counted_and_returns_the_rest() -> None:
    at = bench()
    at.sealing.uses["s1"] = ScopeUse(USED)
    await grant_scope(wish(), at.at)
    assert isinstance(await closed(at), ScopeClosed)
    assert await charged(at) == USED
    assert await sweep_budgets(at.at) == 0
    with pytest.raises(OutOfScopeError, match="closed by generator"):
        await grant_scope(wish(), at.at)


async def test_only_the_holder_closes_a_scope_and_only_one_that_exists() -> None:
    at = bench()
    await grant_scope(wish(), at.at)
    for author, scope_id in (("evolution", "s1"), ("generator", "s2")):
        fact = await closed(at, author, scope_id)
        assert isinstance(fact, ScopeClosingRefused) and fact.reason
    assert at.sealing.sealed == []
    assert (await charged(at)).runs == 100


async def test_an_expired_scope_is_closed_before_it_is_settled() -> None:
    at = bench()
    at.sealing.uses["s1"] = ScopeUse(USED)
    await grant_scope(wish(seconds=120), at.at)
    at.clock.pass_seconds(119)
    assert await sweep_budgets(at.at) == 0
    at.clock.pass_seconds(1)
    assert await sweep_budgets(at.at) == 1
    record = await at.at.scopes.get("s1")
    assert record is not None and record.closed_by == "expiry"
    assert await charged(at) == USED


async def test_calls_in_flight_are_waited_for_and_then_charged_as_if_they_had_been_the_dearest() -> None:
    at = bench()
    at.sealing.uses["s1"] = ScopeUse(USED, open_calls=2, open_tokens=10_000)
    await grant_scope(wish(), at.at)
    await closed(at)
    assert (await charged(at)).runs == 100
    at.clock.pass_seconds(DRAIN_SECONDS)
    assert await sweep_budgets(at.at) == 1
    assert await charged(at) == replace(USED, micro_usd=1_500_000 + 10_000 * 20)


async def test_without_executors_everything_stays_reserved_until_one_answers() -> None:
    at = bench()
    at.sealing.uses["s1"] = UnavailableError("nobody answers")
    await grant_scope(wish(), at.at)
    assert isinstance(await closed(at), ScopeClosed)
    assert (await charged(at)).runs == 100
    at.sealing.uses["s1"] = ScopeUse(USED)
    assert await sweep_budgets(at.at) == 1
    assert await charged(at) == USED


async def test_many_guardrails_that_sweep_at_once_return_everything_once() -> None:
    at = bench()
    for number in range(5):
        await grant_scope(wish(f"s{number}"), at.at)
    at.clock.pass_seconds(3600)
    others = [replace(at.at, budgets=MongoBudgets(at.database)) for _ in range(4)]
    assert sum(await asyncio.gather(*map(sweep_budgets, others))) == 5
    assert await charged(at) == Amounts()


async def test_a_refusal_names_account_limit_rest_and_renewal_and_is_audited() -> None:
    at = bench()
    most = at.at.policy.document.scopes["generation"]
    for number in range(most.daily.runs // most.budget.runs):
        await grant_scope(wish(f"s{number}", budget={"runs": most.budget.runs - 1}), at.at)
    with pytest.raises(LimitReachedError) as caught:
        await grant_scope(wish("more", budget={"runs": 100}), at.at)
    for part in ("purpose:generation", "100,000 runs", "20 of it", "100 are asked", "20 of the 100 runs", "2026-11-23T00:00Z"):
        assert part in str(caught.value)
    refusals = [each for each in await at.at.audit.entries() if each.action == "scope.refused"]
    assert [each.subject for each in refusals] == ["more"]


async def died_at(place: Place, fault: str, at: Bench, query: GrantScope) -> bool:
    """Grants in a process whose store stops at `place`; False where it never came there."""
    boundaries = Boundaries(place, fault)  # type: ignore[arg-type]
    watched = WatchedDatabase(at.database, boundaries)
    dying: Guardrail = replace(at.at, budgets=MongoBudgets(watched), scopes=MongoScopes(watched))
    granting = asyncio.create_task(grant_scope(query, dying))
    await asyncio.wait({granting, asyncio.create_task(boundaries.struck.wait())}, return_when=asyncio.FIRST_COMPLETED)
    boundaries.dispose()
    granting.cancel()
    await asyncio.gather(granting, return_exceptions=True)
    return boundaries.struck.is_set()


WRITES = [Place("budget_days.update", number) for number in range(3)] + [Place("budget_days.insert", 0), Place("scopes.insert", 0)]


@pytest.mark.parametrize("fault", ["stops before", "stops after"])
@pytest.mark.parametrize("place", WRITES, ids=str)
async def test_a_guardrail_that_dies_anywhere_in_a_grant_loses_no_quota_and_gives_none_twice(place: Place, fault: str) -> None:
    """Asked again it is granted once; not asked again, all of it comes back."""
    for is_asked_again in (True, False):
        at = bench()
        assert await died_at(place, fault, at, wish())
        if is_asked_again:
            await grant_scope(wish(), at.at)
            assert (await charged(at)).runs == 100
        at.clock.pass_seconds(PENDING_SECONDS)
        await sweep_budgets(at.at)
        assert await charged(at) == Amounts()
        assert await at.at.budgets.reservations(day_of(at.clock.now() - timedelta(days=3))) == []


async def test_the_enumerated_writes_are_all_that_a_grant_makes() -> None:
    at, boundaries = bench(), Boundaries()
    watched = WatchedDatabase(at.database, boundaries)
    await grant_scope(wish(), replace(at.at, budgets=MongoBudgets(watched), scopes=MongoScopes(watched)))
    assert {Place(name, boundaries.passed[:n].count(name)) for n, name in enumerate(boundaries.passed)} == set(WRITES)
    boundaries.passed.clear()
    await grant_scope(wish("s2"), replace(at.at, budgets=MongoBudgets(watched), scopes=MongoScopes(watched)))
    assert boundaries.passed == ["budget_days.update", "scopes.insert"]


async def test_a_guardrail_that_wakes_after_its_reservation_was_taken_back_hands_nothing_out() -> None:
    at = bench()
    boundaries = Boundaries(Place("scopes.insert", 0), "stops before")
    sleeping = replace(at.at, scopes=MongoScopes(WatchedDatabase(at.database, boundaries)))
    granting = asyncio.create_task(grant_scope(wish(), sleeping))
    await boundaries.struck.wait()
    at.clock.pass_seconds(PENDING_SECONDS)
    assert await sweep_budgets(at.at) == 1
    boundaries.wake()
    with pytest.raises(OutOfScopeError, match="withdrawn"):
        await granting
    assert await charged(at) == Amounts()
