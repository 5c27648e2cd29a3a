"""Data sets with their sealed cases, what may be spent on looks at them, and where they are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from services.guardrail.domain.records import Dataset, SplitCases
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Budget, Case, Split


class Datasets(Protocol):
    async def get(self, dataset_id: str) -> Dataset | None: ...
    async def add(self, dataset: Dataset, cases: SplitCases) -> Dataset:
        """Stores the cases, the sealed ones in their own database, then the dataset. Returns the one stored under this id."""
        ...

    async def latest(self, domain: str | None, limit: int) -> Sequence[Dataset]:
        """Newest first."""
        ...

    async def cases(self, dataset_id: str, split: Split) -> tuple[Case, ...]: ...


class Allowances(Protocol):
    """Counted permissions, reserved before use and never overshot, however many reserve at once."""

    async def reserve(self, account: str, key: str, amount: Budget, limit: Budget) -> bool:
        """Counts `amount` on the account, once for each `key`, or nothing at all where any part of it would pass `limit`."""
        ...

    async def reserve_alpha(self, account: str, change_id: str, choose: Callable[[int, float], float]) -> float:
        """What the change may spend: `choose(looks before, spent before)`, counted once a change; 0 is not counted."""
        ...


class Runs(Protocol):
    """The executor fleet."""

    async def run_all(
        self,
        commands: Sequence[ExecuteRun],
        *,
        max_in_flight: int,
        deadline_seconds: float,
        on_finished: Callable[[RunFinished], None] | None = None,
    ) -> dict[str, RunFinished]: ...
