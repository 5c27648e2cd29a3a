"""Other services and executors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shared.events.message import Query
from shared.events.runs import ExecuteRun, RunFinished
from shared.pipeline.step import MeasuredModels


class BusChildren(Protocol):
    async def run_all(
        self, commands: Sequence[ExecuteRun], *, max_in_flight: int, deadline_seconds: float
    ) -> dict[str, RunFinished]:
        """Run id -> its end, for those that ended in time."""
        ...

    async def cancel(self, runs: Mapping[str, int], reason: str) -> None:
        """`runs`: id -> how often the run had ended before it was retried; a cancellation is for one of these times."""
        ...


class Questions(Protocol):
    async def ask(self, query: Query) -> dict[str, Any]:
        """Another service's answer. Raises the typed error that it gives, or `UnavailableError`."""
        ...


class ModelRecords(Protocol):
    async def of_domain(self, domain: str) -> MeasuredModels:
        """Within a second or so, whatever happens; it raises nothing."""
        ...
