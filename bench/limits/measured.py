"""Three executors' permits on a real broker, against the provider's stand-in."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from pydantic import SecretStr

from services.executor.domain.limits.listed import LimitList, ProviderLimit
from services.executor.engine.completions import PermittedModel
from services.executor.engine.permits import Permits, Wanted
from shared.clock import SystemClock
from shared.llm.anthropic import AnthropicModel
from shared.llm.endpoint import Endpoint
from shared.llm.prices import PriceTable
from shared.messaging.bus import Bus
from shared.messaging.provisioning import provision
from shared.messaging.states import BucketStates
from shared.settings import SharedSettings
from tests.fakes.limited_fleet import REQUEST, most_in_any
from tests.fakes.provider_standin import ProviderStandin
from tests.fakes.states import permits_of
from tests.servers import nats_server

A_MINUTE = 1800
TENANTS = 8
SHARE = 0.3
FLOOD = 100


@dataclass(frozen=True)
class Measured:
    flooded: bool
    seconds: float
    arrived: list[float]
    waits: list[float]
    """Of the eight, in order."""

    def row(self) -> str:
        most = most_in_any(60.0, [(at, 1) for at in self.arrived]) / A_MINUTE
        used = len(self.arrived) / (A_MINUTE * self.seconds / 60)
        p95 = self.waits[int(0.95 * len(self.waits))]
        name = "with the flood" if self.flooded else "alone"
        return f"| {name} | {A_MINUTE} | {len(self.arrived)} | {most:.3f} | {used:.3f} | {1000 * p95:.1f} ms |"


async def measure(*, flooded: bool, seconds: float) -> Measured:
    standin = ProviderStandin()
    arrived: list[float] = []

    def answer(messages: object, schema: object) -> str:
        arrived.append(time.monotonic())
        return "ok"

    standin.answer = answer
    try:
        with nats_server() as url:
            await provision(url)
            waits = await _load(url, standin.url, seconds, flooded=flooded)
    finally:
        standin.stop()
    return Measured(flooded, seconds, sorted(arrived), sorted(waits))


async def _load(url: str, provider: str, seconds: float, *, flooded: bool) -> list[float]:
    buses = [await Bus.connect(SharedSettings(nats_url=url), service="executor") for _ in range(3)]
    fleet = [await _permits(bus, number) for number, bus in enumerate(buses)]
    model = AnthropicModel(Endpoint("claude-haiku-5-5", SecretStr("bench"), provider), PriceTable.load())
    waits: list[float] = []
    each = SHARE * A_MINUTE / 60 / TENANTS
    rates = {f"tenant-{number}": each for number in range(TENANTS)} | ({"flood": FLOOD * each} if flooded else {})
    calls: set[asyncio.Task[None]] = set()
    arriving = [asyncio.create_task(_arrive(tenant, rate, fleet, model, waits, calls)) for tenant, rate in rates.items()]
    await asyncio.sleep(seconds)
    for task in (*arriving, *calls):
        task.cancel()
    await asyncio.gather(*arriving, *calls, return_exceptions=True)
    for permits in fleet:
        await permits.close()
    for bus in buses:
        await bus.close()
    await model.close()
    return waits


async def _permits(bus: Bus, number: int) -> Permits:
    states = BucketStates(bus)
    await states.open()
    limits = LimitList(limits=(ProviderLimit(provider="local", requests_a_minute=A_MINUTE),))
    return permits_of(states, SystemClock(), limits, f"executor-{number}", concurrency=64)


async def _arrive(
    tenant: str, rate: float, fleet: list[Permits], model: AnthropicModel, waits: list[float], calls: set[asyncio.Task[None]]
) -> None:
    moments = random.Random(tenant)
    while True:
        await asyncio.sleep(moments.expovariate(rate))
        task = asyncio.create_task(_call(tenant, moments.choice(fleet), model, waits))
        calls.add(task)
        task.add_done_callback(calls.discard)


async def _call(tenant: str, permits: Permits, model: AnthropicModel, waits: list[float]) -> None:
    asked_at = time.monotonic()
    async with permits.permit(Wanted(REQUEST, tenant, 3600.0, lambda: 0)) as permit:
        if tenant != "flood":
            waits.append(time.monotonic() - asked_at)
        await PermittedModel(model, permit).complete(REQUEST)
