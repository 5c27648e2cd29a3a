"""What runs may use: scopes, leases, pools, and the computer of this executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.executor.domain.quotas import Bound
from services.executor.domain.spending import SealedUse, Spending
from shared.events.quotas import Spent
from shared.events.values import Budget, Usage


class ClosedScopes(Protocol):
    """The guardrail's scopes, read only."""

    async def is_closed(self, scope_id: str) -> bool: ...


class SealableScopes(Protocol):
    async def seal(self, scope_id: str) -> SealedUse:
        """From now on nothing is reserved under it. Repeatable."""
        ...


class QuotaRules(Protocol):
    """The guardrail's, read only."""

    async def bounds(self) -> tuple[Bound, ...]: ...


class LeasedRuns(Protocol):
    async def under_lease(self, lease_id: str) -> tuple[Spent, int]:
        """What runs used that were admitted under it, and how many of them have not ended."""
        ...


class ScopeLedger(Protocol):
    """Use of trial scopes, counted before it happens."""

    async def reserve(self, scope_id: str, budget: Budget, wanted: Budget) -> None:
        """Raises `LimitReachedError` naming what is used up; then nothing is counted."""
        ...

    async def settle(self, scope_id: str, reserved: Budget, used: Usage) -> None:
        """Replaces a reservation of calls and tokens by what was used."""
        ...

    async def release_run(self, scope_id: str) -> None:
        """Gives back a run that turned out to be counted already."""
        ...


class Pools(Protocol):
    """What runs that go on at the same time may use together, taken before it is used."""

    async def open(self, pool_id: str, left: Spending) -> None:
        """A pool that is open stays as it is."""
        ...

    async def is_open(self, pool_id: str) -> bool: ...

    async def take(self, pool_id: str, wanted: Spending) -> None:
        """Raises `LimitReachedError` naming what is not left; then nothing is taken."""
        ...

    async def give_back(self, pool_id: str, unused: Spending) -> None:
        """Amounts below zero are taken."""
        ...


@dataclass(frozen=True)
class Allowance:
    """What one computation may use."""

    cpu_seconds: float = 10.0
    memory_mb: int = 256
    """Above what the process that computes holds anyway, in MiB."""


class Computations(Protocol):
    async def compute(self, name: str, arguments: Mapping[str, Any], allowance: Allowance) -> Any:
        """A pure function of the catalogue or the work of a `data_transform`, apart from all else. Arguments are checked there.

        Raises what the function raises, `LimitReachedError` (`cpu_seconds`, `memory_mb`, `answer_bytes`, ...), and a permanent
        error where it went down otherwise."""
        ...


class SharedStates(Protocol):
    """Small documents that all executors change. Every method raises `UnavailableError` where the store does not answer."""

    async def read(self, key: str) -> tuple[bytes, int]:
        """Body and revision; revision 0 and no body where there is none."""
        ...

    async def write(self, key: str, body: bytes, revision: int) -> int | None:
        """The new revision; None where the document is not the one of `revision` any more. One that was not answered may have been
        written all the same."""
        ...

    def on_change(self, key: str, call: Callable[[bytes], None]) -> None:
        """`call` is told what somebody writes, or tried to: a hint, which may get lost."""
        ...


class PermitObserver(Protocol):
    """Metrics of waiting for a provider."""

    def waited(self, provider: str, model: str, seconds: float) -> None: ...
    def not_permitted(self, provider: str, model: str, reason: str) -> None: ...
    def paused(self, provider: str, model: str) -> None: ...
