"""Limits that executors share, on the real broker, counted by the provider's stand-in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from services.executor.adapters.limits_file import read_limits
from services.executor.domain.limits.listed import LimitList, ProviderLimit
from services.executor.engine.completions import PermittedModel
from services.executor.engine.permits import NoPermitError, Permits, Wanted
from shared.clock import SystemClock
from shared.errors import ConfigurationError, ProviderError
from shared.llm.anthropic import AnthropicModel
from shared.llm.endpoint import Endpoint
from shared.llm.prices import PriceTable
from shared.messaging.states import BucketStates
from tests.conftest import OpenBus
from tests.fakes.limited_fleet import REQUEST, most_in_any
from tests.fakes.provider_standin import ProviderStandin, provider_standin, status
from tests.fakes.states import permits_of

__all__ = ["provider_standin"]

EXECUTORS = 3
CLOCK = SystemClock()


@pytest.fixture
async def model(provider_standin: ProviderStandin) -> AsyncIterator[AnthropicModel]:
    made = AnthropicModel(Endpoint("claude-haiku-5-5", SecretStr("key"), provider_standin.url), PriceTable.load())
    yield made
    await made.close()


async def fleet(open_bus: OpenBus, limit: ProviderLimit, count: int = EXECUTORS) -> list[Permits]:
    """As many executors as processes would be: each with a connection of its own."""
    made = []
    for number in range(count):
        states = BucketStates(await open_bus("executor"))
        await states.open()
        made.append(permits_of(states, CLOCK, LimitList(limits=(limit,)), f"executor-{number}", concurrency=64))
    return made


async def call(permits: Permits, model: AnthropicModel, tenant: str = "one", seconds: float = 60.0) -> None:
    async with permits.permit(Wanted(REQUEST, tenant, seconds, lambda: 100)) as permit:
        await PermittedModel(model, permit).complete(REQUEST)


def limit(**bounds: Any) -> ProviderLimit:
    """Of what the requests here go to."""
    return ProviderLimit(provider="local", **bounds)


@pytest.fixture(autouse=True)
async def clean_bucket(open_bus: OpenBus) -> None:
    bus = await open_bus("executor")
    await bus.jetstream.purge_stream("KV_limits")


async def test_three_executors_together_stay_within_the_requests_of_a_minute(
    open_bus: OpenBus, model: AnthropicModel, provider_standin: ProviderStandin
) -> None:
    a_minute, seconds = 6000, 4.0
    arrived: list[float] = []
    provider_standin.answer = lambda messages, schema: arrived.append(time.monotonic()) or "ok"  # type: ignore[func-returns-value]
    permits = await fleet(open_bus, limit(requests_a_minute=a_minute))
    calls = [asyncio.create_task(call(permits[number % EXECUTORS], model)) for number in range(int(2 * a_minute * seconds / 60))]
    await asyncio.sleep(seconds)
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert len(arrived) > 100
    # What a whole minute may have beyond its allowance, 2%, is what any part of it may have.
    moments = [(at, 1) for at in sorted(arrived)]
    for window in (0.5, 1.0, 2.0, seconds):
        assert most_in_any(window, moments) <= a_minute * window / 60 + 0.02 * a_minute


async def test_three_executors_together_stay_within_the_calls_in_flight(
    open_bus: OpenBus, model: AnthropicModel, provider_standin: ProviderStandin
) -> None:
    flying: list[int] = [0, 0]

    def answer(messages: Sequence[dict[str, str]], schema: object) -> str:
        flying[0] += 1
        flying[1] = max(flying)
        time.sleep(0.05)
        flying[0] -= 1
        return "ok"

    provider_standin.answer = answer
    permits = await fleet(open_bus, limit(concurrency=5))
    await asyncio.gather(*(call(permits[number % EXECUTORS], model) for number in range(60)))
    assert provider_standin.calls == 60
    assert flying[1] <= 5


async def test_a_retry_after_that_one_executor_was_told_is_heeded_by_all(
    open_bus: OpenBus, model: AnthropicModel, provider_standin: ProviderStandin
) -> None:
    permits = await fleet(open_bus, ProviderLimit(provider="local"))
    await asyncio.gather(*(call(each, model) for each in permits))
    provider_standin.script(status(429, retry_after="2"))
    with pytest.raises(ProviderError, match="429"):
        await call(permits[0], model)
    asked_at, calls = time.monotonic(), provider_standin.calls
    await asyncio.sleep(0.3)
    waiting = [asyncio.create_task(call(each, model)) for each in permits for _ in range(5)]
    with pytest.raises(NoPermitError, match="wants no calls"):
        await call(permits[1], model, seconds=0.5)
    assert provider_standin.calls == calls
    await asyncio.gather(*waiting)
    assert time.monotonic() - asked_at >= 1.9
    assert provider_standin.calls == calls + 15


async def test_tokens_that_were_not_used_come_back(open_bus: OpenBus, model: AnthropicModel) -> None:
    """Each call takes 100 tokens and uses about two: without their return 60 calls would take 30 s."""
    permits = await fleet(open_bus, limit(tokens_a_minute=12_000), count=2)
    await asyncio.wait_for(asyncio.gather(*(call(permits[number % 2], model) for number in range(60))), 25.0)


def test_a_file_of_limits_that_is_wrong_says_where(tmp_path: Any) -> None:
    file = tmp_path / "limits.json"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_limits(file)
    file.write_text('{"limits": [{"provider": "anthropic", "requests_a_minute": 0, "per_hour": 3}]}')
    with pytest.raises(ConfigurationError, match=r"limits\.0\.requests_a_minute.*limits\.0\.per_hour"):
        read_limits(file)
    file.write_text('{"limits": [{"provider": "anthropic", "model": "claude", "requests_a_minute": 50}]}')
    assert read_limits(file).of("anthropic", "claude-haiku-5-5").requests_a_minute == 50
