"""The permits of three executors in virtual time."""

from __future__ import annotations

from dataclasses import dataclass

from services.executor.domain.limits.listed import ProviderLimit
from tests.fakes.limited_fleet import LimitedFleet, Load, most_in_any
from tests.fakes.virtual_time import run_in_virtual_time

TENANTS = [f"tenant-{number}" for number in range(8)]
CALLS = 600


@dataclass(frozen=True)
class Simulated:
    a_minute: int
    share: float
    seconds: float
    alone: LimitedFleet
    flooded: LimitedFleet

    def row(self) -> str:
        most = most_in_any(60.0, [(call.begun_at, 1) for call in self.flooded.made]) / self.a_minute
        used = len(self.flooded.made) / (self.a_minute * self.seconds / 60)
        waits = (1000 * self.alone.p95(TENANTS), 1000 * self.flooded.p95(TENANTS))
        return f"| {self.a_minute} | {self.share:.0%} | {most:.3f} | {used:.3f} | {waits[0]:.1f} ms | {waits[1]:.1f} ms |"


def simulate(a_minute: int, share: float) -> Simulated:
    """Long enough for a whole minute and some hundreds of calls."""
    seconds = max(65.0, CALLS * 60 / a_minute)
    each = share * a_minute / 60 / len(TENANTS)
    others = [Load(tenant, each) for tenant in TENANTS]
    flood = Load("flood", 100 * each)

    async def run(loads: list[Load]) -> LimitedFleet:
        fleet = LimitedFleet(ProviderLimit(provider="local", requests_a_minute=a_minute))
        await fleet.run(loads, seconds)
        return fleet

    return Simulated(a_minute, share, seconds, run_in_virtual_time(run(others)), run_in_virtual_time(run([*others, flood])))
