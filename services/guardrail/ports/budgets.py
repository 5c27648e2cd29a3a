"""What is reserved, counted and priced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from services.guardrail.domain.budgets import Amounts, Reservation, Shortage, Standing
from services.guardrail.domain.scope_records import ScopeRecord
from shared.events.changes import GrantScope
from shared.events.values import GrantedScope


class Budgets(Protocol):
    """Accounts of a UTC day. A reservation counts on all of its accounts or on none, and none passes its limit, however many
    reserve at once."""

    async def reserve(self, wanted: Reservation, limits: Mapping[str, Mapping[str, int]]) -> Shortage | None:
        """None: it is held, now or since it was asked for before. `limits`: account -> resource -> most. Raises
        `ReservationError`."""
        ...

    async def settle(self, day: str, reservation_id: str, used: Amounts, at: datetime) -> Reservation | None:
        """Replaces what is reserved by what was used, once; None where it was settled before, or never made."""
        ...

    async def count(self, report_id: str, day: str, used: Mapping[str, Amounts], at: datetime) -> bool:
        """Counts what was used without a reservation, by account; False where the report was counted before."""
        ...

    async def standings(self, day: str, accounts: Sequence[str] | None = None) -> list[Standing]:
        """Those of `accounts`, in their order, or all that were ever touched on the day."""
        ...

    async def reservations(self, since: str) -> list[Reservation]:
        """Open ones of the days from `since` on, oldest first."""
        ...

    async def announce(self, revision: str, bounds: Sequence[Mapping[str, Any]]) -> bool:
        """Tells executors what bounds production runs now; False where this policy revision told the same before."""
        ...

    async def forget(self, day: str) -> None:
        """Of settled reservations only the latest are remembered."""
        ...


@dataclass(frozen=True)
class ScopeUse:
    """What executors counted under a sealed scope. Calls in flight count as they were reserved; their cost is not known."""

    used: Amounts
    open_calls: int = 0
    open_tokens: int = 0


@dataclass(frozen=True)
class LeaseUse:
    used: Amounts
    running: int
    """Runs under it that have not ended."""


class Sealing(Protocol):
    """What executors counted."""

    async def seal(self, scope_id: str) -> ScopeUse:
        """Lets nothing more happen under a scope that was closed here. Raises `UnavailableError` where no executor answers."""
        ...

    async def count_lease(self, lease_id: str) -> LeaseUse:
        """Raises `UnavailableError` where no executor answers."""
        ...


class Prices(Protocol):
    def dearest_usd(self, families: Sequence[str], models: Sequence[str]) -> float:
        """The most that a million tokens of these may cost, in US dollars. A model that is not listed costs as the dearest."""
        ...


class Scopes(Protocol):
    async def get(self, scope_id: str) -> ScopeRecord | None: ...
    async def add(self, query: GrantScope, granted: GrantedScope, day: str) -> ScopeRecord:
        """What is stored under the scope id: the given pair, or what was there before."""
        ...

    async def withdraw(self, scope_id: str, at: datetime) -> bool:
        """From now on the id is never given a scope. False where it has one."""
        ...

    async def close(self, scope_id: str, by: str, at: datetime) -> bool:
        """False where it was closed before."""
        ...
