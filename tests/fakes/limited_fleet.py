"""Executors that share limits, simulated: the real permits on states in memory, calls that take a while, tenants that arrive at
random. Time is virtual."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from services.executor.domain.limits.listed import LimitList, ProviderLimit
from services.executor.engine.permits import Permits, Wanted
from shared.pipeline.completion import ChatMessage, CompletionRequest
from tests.fakes.states import InMemoryStates, permits_of
from tests.fakes.virtual_time import LoopClock

REQUEST = CompletionRequest(family="claude", messages=(ChatMessage(role="user", text="hello"),))


@dataclass(frozen=True)
class CallMade:
    tenant: str
    begun_at: float
    tokens: int
    waited: float


@dataclass(frozen=True)
class Load:
    """Calls of one tenant, at random moments, at any executor."""

    tenant: str
    calls_a_second: float
    call_seconds: float = 0.3
    reserved_tokens: int = 0
    used_tokens: int = 0


@dataclass
class LimitedFleet:
    limit: ProviderLimit
    executors: int = 3
    round_trip_seconds: float = 0.002
    concurrency: int = 1000
    seed: int = 7
    made: list[CallMade] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    busy_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.clock = LoopClock()
        self.random = random.Random(self.seed)
        self.states = InMemoryStates(self.round_trip_seconds)
        limits = LimitList(limits=(self.limit,))
        names = [f"executor-{number}" for number in range(self.executors)]
        self.permits: list[Permits] = [
            permits_of(self.states, self.clock, limits, name, concurrency=self.concurrency) for name in names
        ]

    async def run(self, loads: Sequence[Load], seconds: float) -> None:
        """Ends with calls cut off that are under way."""
        async with asyncio.TaskGroup() as group:
            arriving = [group.create_task(self._arrive(load, group)) for load in loads]
            await self.clock.sleep(seconds)
            calls = set(asyncio.all_tasks()) - {asyncio.current_task()}
            for task in (*arriving, *calls):
                task.cancel()
        for permits in self.permits:
            await permits.close()

    async def _arrive(self, load: Load, group: asyncio.TaskGroup) -> None:
        while True:
            await self.clock.sleep(self.random.expovariate(load.calls_a_second))
            group.create_task(self.call(load, self.random.choice(self.permits)))

    async def call(self, load: Load, permits: Permits) -> None:
        asked_at = self.clock.monotonic()
        async with permits.permit(Wanted(REQUEST, load.tenant, 1e6, lambda: load.reserved_tokens)) as permit:
            permit.begin()
            begun_at = self.clock.monotonic()
            self.made.append(CallMade(load.tenant, begun_at, load.used_tokens, begun_at - asked_at))
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                await self.clock.sleep(load.call_seconds)
                permit.used(load.used_tokens)
            finally:
                self.in_flight -= 1
                self.busy_seconds += self.clock.monotonic() - begun_at

    def p95(self, tenants: Container[str], since: float = 0.0) -> float:
        """Wait of those tenants' calls that began since then."""
        waits = sorted(call.waited for call in self.made if call.tenant in tenants and call.begun_at >= since)
        return waits[int(0.95 * len(waits))]


def most_in_any(window: float, moments: Sequence[tuple[float, int]]) -> int:
    """The largest sum of units in any half-open window of so many seconds; `moments` are in order."""
    first = total = most = 0
    for at, units in moments:
        total += units
        while moments[first][0] <= at - window:
            total -= moments[first][1]
            first += 1
        most = max(most, total)
    return most
