"""Any order of reservations, settlements, expiries and repeats: no account ever passes its limit, and everything comes back."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.guardrail.adapters.budgets import MongoBudgets
from services.guardrail.domain.budgets import RESOURCES, Amounts, Reservation
from services.guardrail.ports import ReservationError
from tests.fakes.storage import InMemoryDatabase

T = TypeVar("T")
DAYS, NOW = ("2026-11-22", "2026-11-23"), datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
ACCOUNTS = ("system", "service:a", "service:b", "pipeline:p.1")
LIMITS = {
    "system": {"runs": 30, "micro_usd": 1_000_003},
    "service:a": {"runs": 20},
    "pipeline:p.1": {"calls": 7, "micro_usd": 333_333},
}
AMOUNTS = st.builds(
    Amounts,
    runs=st.integers(0, 12),
    calls=st.integers(0, 5),
    tokens=st.integers(0, 10**12),
    micro_usd=st.integers(0, 400_000),
)
IDS = st.integers(0, 11).map(lambda number: f"r.{number}")
SHARES = st.fractions(0, 1)


def done(work: Coroutine[Any, Any, T]) -> T:
    """The store in memory never waits, so no event loop is needed."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


class Budgets(RuleBasedStateMachine):
    """The model is a list of what was granted and how it ended; the store must add up to it."""

    def __init__(self) -> None:
        super().__init__()
        self.database = InMemoryDatabase()
        self.open: dict[tuple[str, str], Reservation] = {}
        self.settled: dict[tuple[str, str], tuple[Reservation, Amounts]] = {}

    @property
    def budgets(self) -> MongoBudgets:
        """Another process each time: nothing is remembered but in the store."""
        return MongoBudgets(self.database)

    @rule(reservation_id=IDS, day=st.sampled_from(DAYS), amounts=AMOUNTS, accounts=st.sets(st.sampled_from(ACCOUNTS), min_size=1))
    def reserve(self, reservation_id: str, day: str, amounts: Amounts, accounts: set[str]) -> None:
        key = (day, reservation_id)
        wanted = Reservation(
            reservation_id=reservation_id,
            day=day,
            holder="a",
            purpose="evolution",
            accounts=tuple(sorted(accounts)),
            amounts=amounts,
            opened_at=NOW,
            lease_until=NOW + timedelta(hours=1),
        )
        has_room = self.has_room(wanted)
        try:
            shortage = done(self.budgets.reserve(wanted, LIMITS))
        except ReservationError:
            assert key in self.settled or self.open[key] != wanted
            return
        if key in self.open or key in self.settled:
            assert shortage is not None or self.open[key] == wanted
        elif shortage is None:
            assert has_room
            self.open[key] = wanted
        else:
            assert not has_room
            assert shortage.left < shortage.asked

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        assert done(self.budgets.reserve(self.open[key], LIMITS)) is None

    @precondition(lambda self: self.open or self.settled)
    @rule(data=st.data(), share=SHARES)
    def settle(self, data: st.DataObject, share: Any) -> None:
        """Once, and again without any effect. A share of 0 is what comes of an expired lease that nobody used."""
        key = data.draw(st.sampled_from(sorted({*self.open, *self.settled})))
        reservation = self.open.pop(key, None)
        amounts = (reservation or self.settled[key][0]).amounts
        used = Amounts(**{name: int(getattr(amounts, name) * share) for name in RESOURCES})
        assert done(self.budgets.settle(*key, used, NOW)) == reservation
        if reservation is not None:
            self.settled[key] = (reservation, used)

    @invariant()
    def no_account_passes_its_limit_and_all_of_them_add_up(self) -> None:
        for day in DAYS:
            for standing in done(self.budgets.standings(day, ACCOUNTS)):
                used, held = self.sums(day, standing.account)
                assert (standing.used, standing.reserved) == (used, held)
                for resource, most in LIMITS.get(standing.account, {}).items():
                    assert getattr(standing.total, resource) <= most

    def teardown(self) -> None:
        for key in list(self.open):
            done(self.budgets.settle(*key, Amounts(), NOW))
        for day in DAYS:
            for standing in done(self.budgets.standings(day, ACCOUNTS)):
                assert standing.total == standing.used == self.sums(day, standing.account)[0]
        assert done(self.budgets.reservations(DAYS[0])) == []

    def sums(self, day: str, account: str) -> tuple[Amounts, Amounts]:
        used = [used for each, used in self.settled.values() if each.day == day and account in each.accounts]
        held = [each.amounts for each in self.open.values() if each.day == day and account in each.accounts]
        return _sum(used), _sum(held)

    def has_room(self, wanted: Reservation) -> bool:
        for account in wanted.accounts:
            total = _sum([*self.sums(wanted.day, account), wanted.amounts])
            if any(getattr(total, name) > most for name, most in LIMITS.get(account, {}).items()):
                return False
        return True


def _sum(amounts: list[Amounts]) -> Amounts:
    return Amounts(**{name: sum(getattr(each, name) for each in amounts) for name in RESOURCES})


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
