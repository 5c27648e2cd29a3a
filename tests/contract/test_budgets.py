"""Budgets on the fake and on the real store: all or nothing, exact, once, however many reserve at the same time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.guardrail.adapters import budgets as adapter
from services.guardrail.adapters.budgets import MongoBudgets
from services.guardrail.domain.budgets import Amounts, Reservation, Shortage
from services.guardrail.ports import ReservationError
from shared.storage import Database
from tests.fakes.durable_boundaries import Boundaries, WatchedDatabase
from tests.fakes.storage import InMemoryDatabase

DAY, NOW = "2026-11-22", datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ACCOUNTS = ("system", "service:evolution", "pipeline:triage", "group:evo.1$%")
LIMITS = {"system": {"runs": 100, "micro_usd": 10_000_000}, "pipeline:triage": {"runs": 60, "calls": 1000}}


def wanted(reservation_id: str, *, accounts: tuple[str, ...] = ACCOUNTS, **amounts: int) -> Reservation:
    return Reservation(
        reservation_id=reservation_id,
        day=DAY,
        holder="evolution",
        purpose="evolution",
        accounts=accounts,
        amounts=Amounts(**amounts),
        opened_at=NOW,
        lease_until=NOW + timedelta(hours=1),
    )


async def totals(budgets: MongoBudgets, *accounts: str) -> list[Amounts]:
    return [each.total for each in await budgets.standings(DAY, accounts or ACCOUNTS)]


async def test_a_reservation_counts_on_all_of_its_accounts_or_on_none(database: Database) -> None:
    budgets = MongoBudgets(database)
    assert await budgets.reserve(wanted("a.1", runs=50, micro_usd=1), LIMITS) is None
    assert await totals(budgets) == [Amounts(runs=50, micro_usd=1)] * 4
    assert await budgets.reserve(wanted("a.2", runs=20), LIMITS) == Shortage("pipeline:triage", "runs", 60, 10, 20)
    assert await budgets.reserve(wanted("a.3", runs=5, calls=1001), LIMITS) == Shortage(
        "pipeline:triage", "calls", 1000, 1000, 1001
    )
    assert await totals(budgets) == [Amounts(runs=50, micro_usd=1)] * 4
    assert await budgets.reserve(wanted("a.4", runs=10), LIMITS) is None


async def test_fifty_reservers_at_once_use_the_quota_fully_and_never_more(database: Database) -> None:
    stores = [MongoBudgets(database) for _ in range(5)]
    answers = await asyncio.gather(*(stores[n % 5].reserve(wanted(f"r{n}", runs=3, micro_usd=100_001), LIMITS) for n in range(50)))
    assert sum(each is None for each in answers) == 20
    assert {each.account for each in answers if each} == {"pipeline:triage"}
    assert await totals(stores[0]) == [Amounts(runs=60, micro_usd=2_000_020)] * 4


async def test_one_of_fifty_gets_the_last_unit(database: Database) -> None:
    budgets = MongoBudgets(database)
    assert await budgets.reserve(wanted("most", runs=59), LIMITS) is None
    answers = await asyncio.gather(*(MongoBudgets(database).reserve(wanted(f"last{n}", runs=1), LIMITS) for n in range(50)))
    assert sum(each is None for each in answers) == 1
    assert await totals(budgets, "pipeline:triage") == [Amounts(runs=60)]


async def test_what_was_reserved_is_reserved_once_and_settled_once(database: Database) -> None:
    budgets = MongoBudgets(database)
    asked = wanted("once", runs=10, calls=40, micro_usd=500)
    assert await asyncio.gather(*(budgets.reserve(asked, LIMITS) for _ in range(10))) == [None] * 10
    assert await totals(budgets) == [asked.amounts] * 4
    used = Amounts(runs=4, calls=7, micro_usd=499, wall_ms=1500)
    settled = await asyncio.gather(*(MongoBudgets(database).settle(DAY, "once", used, NOW) for _ in range(10)))
    assert [each for each in settled if each] == [asked]
    standings = await budgets.standings(DAY, ACCOUNTS)
    assert [(each.total, each.used) for each in standings] == [(used, used)] * 4
    assert await budgets.reservations(DAY) == []
    with pytest.raises(ReservationError, match="settled before"):
        await budgets.reserve(asked, LIMITS)


async def test_an_id_means_one_wish(database: Database) -> None:
    budgets = MongoBudgets(database)
    assert await budgets.reserve(wanted("mine", runs=1), LIMITS) is None
    with pytest.raises(ReservationError, match="another wish"):
        await budgets.reserve(wanted("mine", runs=2), LIMITS)
    assert [each.amounts for each in await budgets.reservations(DAY)] == [Amounts(runs=1)]


async def test_time_that_nobody_can_reserve_is_refused_once_it_is_used_up(database: Database) -> None:
    budgets, limits = MongoBudgets(database), {"system": {"wall_ms": 1000}}
    assert await budgets.reserve(wanted("a", runs=1), limits) is None
    await budgets.settle(DAY, "a", Amounts(runs=1, wall_ms=1000), NOW)
    assert await budgets.reserve(wanted("b", runs=1), limits) == Shortage("system", "wall_ms", 1000, 0, 1)


async def test_reports_of_use_count_once(database: Database) -> None:
    budgets = MongoBudgets(database)
    used = {"system": Amounts(runs=2, calls=5), "production_pipeline:a.b": Amounts(runs=2)}
    assert await asyncio.gather(*(budgets.count("report-1", DAY, used, NOW) for _ in range(8))) != [False] * 8
    assert await totals(budgets, "system", "production_pipeline:a.b") == [Amounts(runs=2, calls=5), Amounts(runs=2)]
    assert {each.account for each in await budgets.standings(DAY)} == set(used)


async def test_only_the_latest_settled_reservations_are_remembered(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "REMEMBERED", 3)
    budgets = MongoBudgets(database)
    for number in range(6):
        await budgets.reserve(wanted(f"r{number}", runs=1), LIMITS)
        await budgets.settle(DAY, f"r{number}", Amounts(), NOW + timedelta(seconds=number))
    await budgets.forget(DAY)
    (day,) = await database.collection("budget_days").find({})
    assert sorted(day["done"].values()) == [(NOW + timedelta(seconds=number)).timestamp() for number in (3, 4, 5)]


@pytest.mark.parametrize("known", [False, True])
async def test_a_reservation_is_one_write_once_its_accounts_are_known(known: bool) -> None:
    """Writes of the first reservation of a day, and of any later one."""
    database, boundaries = InMemoryDatabase(), Boundaries()
    budgets = MongoBudgets(WatchedDatabase(database, boundaries))
    if known:
        await budgets.reserve(wanted("first", runs=1), LIMITS)
        boundaries.passed.clear()
    await budgets.reserve(wanted("next", runs=1), LIMITS)
    attempt: list[Any] = ["budget_days.update"]
    assert boundaries.passed == (attempt if known else [*attempt, "budget_days.insert", "budget_days.update", *attempt])


async def test_what_bounds_production_is_told_again_where_the_same_policy_is_said_in_other_words(database: Database) -> None:
    former, named = [[{"account": "system", "resources": [name]}] for name in ("micro_usd", "cost_usd")]
    budgets = MongoBudgets(database)
    assert await budgets.announce("r1", former)
    assert not await budgets.announce("r1", former)
    assert await budgets.announce("r1", named)
    assert not await budgets.announce("r1", named)
    assert await budgets.announce("r2", named)
