"""Limits that executors share, in virtual time: the real permits of three executors on shared documents in memory."""

from __future__ import annotations

import pytest

from services.executor.domain.limits.listed import LimitList, ProviderLimit
from shared.errors import ConfigurationError
from tests.fakes.limited_fleet import LimitedFleet, Load, most_in_any
from tests.fakes.virtual_time import run_in_virtual_time

OTHERS = [f"tenant-{number}" for number in range(8)]


def simulated(limit: ProviderLimit, loads: list[Load], seconds: float) -> LimitedFleet:
    async def simulate() -> LimitedFleet:
        made = LimitedFleet(limit)
        await made.run(loads, seconds)
        return made

    return run_in_virtual_time(simulate())


@pytest.mark.parametrize(("a_minute", "seconds"), [(10, 240), (60, 120), (600, 65)])
def test_requests_keep_to_their_limit_and_use_it(a_minute: int, seconds: int) -> None:
    fleet = simulated(ProviderLimit(provider="local", requests_a_minute=a_minute), [Load("one", a_minute / 20)], seconds)
    assert most_in_any(60.0, [(call.begun_at, 1) for call in fleet.made]) <= 1.02 * a_minute
    assert len(fleet.made) >= 0.95 * a_minute * seconds / 60


def test_tokens_keep_to_their_limit_by_what_was_really_used() -> None:
    limit = ProviderLimit(provider="local", tokens_a_minute=30_000)
    load = Load("one", calls_a_second=4, call_seconds=0.5, reserved_tokens=500, used_tokens=200)
    fleet = simulated(limit, [load], 120)
    used = [(call.begun_at, call.tokens) for call in fleet.made]
    assert most_in_any(60.0, used) <= 1.02 * 30_000
    assert sum(tokens for at, tokens in used if at >= 20) >= 0.95 * 30_000 * 100 / 60


def test_calls_in_flight_keep_to_their_limit_and_use_it() -> None:
    limit = ProviderLimit(provider="local", concurrency=20)
    fleet = simulated(limit, [Load("one", 30, call_seconds=1.0), Load("two", 30, call_seconds=1.0)], 12)
    assert fleet.most_in_flight == 20
    assert fleet.busy_seconds >= 0.95 * 20 * 11.5


@pytest.mark.parametrize(("a_minute", "seconds"), [(60, 300), (600, 60), (3000, 12)])
def test_a_tenant_that_asks_a_hundred_times_as_much_does_not_double_the_others_waits(a_minute: int, seconds: int) -> None:
    limit = ProviderLimit(provider="local", requests_a_minute=a_minute)
    spacing = 60 / a_minute
    each = 0.3 * a_minute / 60 / len(OTHERS)
    others = [Load(tenant, each) for tenant in OTHERS]
    alone = simulated(limit, others, seconds)
    flooded = simulated(limit, [*others, Load("flood", 100 * each)], seconds)
    assert flooded.p95(OTHERS) <= 2 * alone.p95(OTHERS) + spacing  # of the call that went just before
    assert len(flooded.made) >= 0.95 * a_minute * seconds / 60


def test_a_flood_of_calls_in_flight_leaves_others_their_turns() -> None:
    limit = ProviderLimit(provider="local", concurrency=20)
    others = [Load(tenant, 1.5, call_seconds=0.5) for tenant in OTHERS]
    flooded = simulated(limit, [*others, Load("flood", 150, call_seconds=0.5)], 10)
    assert flooded.p95(OTHERS, since=4.0) <= 0.15  # the flood's first calls all end in the same moment
    assert flooded.busy_seconds >= 0.95 * 20 * 9.5


def test_the_longest_listed_name_that_the_model_begins_with_is_its_limit() -> None:
    every = ProviderLimit(provider="anthropic", requests_a_minute=1)
    haiku = ProviderLimit(provider="anthropic", model="claude-haiku-5-5", requests_a_minute=2)
    limits = LimitList(limits=(every, haiku))
    assert limits.of("anthropic", "claude-haiku-5-5-20261101") == haiku
    assert limits.of("anthropic", "claude-opus-5-5") == every
    assert not limits.of("google", "gemini-3.8-flash").is_limited


def test_a_limit_that_is_listed_twice_is_an_error() -> None:
    twice = LimitList(limits=(ProviderLimit(provider="local"), ProviderLimit(provider="local", requests_a_minute=1)))
    with pytest.raises(ConfigurationError, match=r"local/\*"):
        twice.check()


def test_keys_of_limits_hold_what_the_store_takes_and_are_all_different() -> None:
    models = ["", "b", "b.c", "b-c", "b:c", "b=3Ac", "b/c", "b~c", "ü"]
    keys = [ProviderLimit(provider="a", model=model).key for model in models]
    assert len(set(keys)) == len(keys)
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyzABCDEF0123456789=/-_") for key in keys)
