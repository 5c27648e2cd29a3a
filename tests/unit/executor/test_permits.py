"""Waiting for a provider: turns, pauses, cut-off calls, limits that cannot be read."""

from __future__ import annotations

import asyncio

import pytest

from services.executor.domain.limits.listed import LimitList, ProviderLimit
from services.executor.domain.limits.shared import SharedLimit
from services.executor.engine.permits import NoPermitError, Permits, Wanted
from tests.fakes.limited_fleet import REQUEST
from tests.fakes.states import InMemoryStates, RecordingPermitObserver, permits_of
from tests.fakes.virtual_time import LoopClock, run_in_virtual_time

FREE = LimitList()
ONE_A_SECOND = LimitList(limits=(ProviderLimit(provider="local", requests_a_minute=60),))
TWO_AT_ONCE = LimitList(limits=(ProviderLimit(provider="local", concurrency=2),))
CLOCK = LoopClock()


def wanted(tenant: str = "one", seconds: float = 60.0, tokens: int = 0) -> Wanted:
    return Wanted(REQUEST, tenant, seconds, lambda: tokens)


async def call(permits: Permits, tenant: str = "one", seconds: float = 60.0, lasts: float = 0.1) -> float:
    """Makes one call; returns when it began."""
    async with permits.permit(wanted(tenant, seconds)) as permit:
        permit.begin()
        begun_at = CLOCK.monotonic()
        await CLOCK.sleep(lasts)
        return begun_at


def test_without_limits_calls_go_at_once_and_ask_nobody() -> None:
    async def work() -> None:
        states = InMemoryStates(delay_seconds=1.0)
        permits = permits_of(states, CLOCK, FREE, concurrency=100)
        begun = await asyncio.gather(*(call(permits) for _ in range(100)))
        assert set(begun) == {0.0}
        assert states.requests == {"read": 1}  # of pauses from before, in the background

    run_in_virtual_time(work())


def test_slots_of_one_executor_go_round_among_tenants() -> None:
    async def work() -> None:
        permits = permits_of(InMemoryStates(), CLOCK, FREE, concurrency=1)
        flood = [asyncio.create_task(call(permits, "flood", lasts=1.0)) for _ in range(100)]
        await CLOCK.sleep(0.5)
        begun = await asyncio.gather(call(permits, "two"), call(permits, "three"))
        assert sorted(begun) == pytest.approx([1.0, 1.1])
        for task in flood:
            task.cancel()

    run_in_virtual_time(work())


@pytest.mark.parametrize("limits", [FREE, ONE_A_SECOND, TWO_AT_ONCE], ids=["free", "rate", "concurrency"])
def test_a_thousand_cut_off_calls_leave_nothing_behind(limits: LimitList) -> None:
    async def work() -> None:
        states = InMemoryStates(0.002)
        permits = permits_of(states, CLOCK, limits, concurrency=4)
        tasks = [asyncio.create_task(call(permits, f"tenant-{number % 7}", lasts=5.0)) for number in range(1000)]
        for number, task in enumerate(tasks):
            task.cancel()
            if number % 50 == 0:
                await CLOCK.sleep(0.01)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        await CLOCK.sleep(2.0)
        assert permits.waiting == 0
        assert permits.free("claude") == 4
        stored, _ = await states.read(f"limit/{limits.of('local', 'local').key}")
        assert not stored or not SharedLimit.model_validate_json(stored).holdings
        await asyncio.wait_for(call(permits), 2.0)

    run_in_virtual_time(work())


def test_a_permit_that_is_not_used_is_given_back() -> None:
    async def work() -> None:
        permits = permits_of(InMemoryStates(0.002), CLOCK, ONE_A_SECOND)
        for _ in range(5):
            async with permits.permit(wanted()):
                pass
            await CLOCK.sleep(0.1)
        assert await call(permits) < 1.0

    run_in_virtual_time(work())


@pytest.mark.parametrize("limits", [FREE, ONE_A_SECOND], ids=["free", "rate"])
def test_a_pause_that_one_executor_was_told_holds_for_all(limits: LimitList) -> None:
    async def work() -> None:
        states, observer = InMemoryStates(0.002), RecordingPermitObserver()
        first = permits_of(states, CLOCK, limits, "executor-1", observer=observer)
        second = permits_of(states, CLOCK, limits, "executor-2")
        await asyncio.gather(call(first), call(second))
        await CLOCK.sleep(5.0)
        async with first.permit(wanted()) as permit:
            permit.begin()
            paused_at = CLOCK.monotonic()
            permit.pause(30.0)
        await CLOCK.sleep(0.1)
        late = permits_of(states, CLOCK, limits, "executor-3")
        await asyncio.gather(call(late, seconds=0.01), return_exceptions=True)  # has not heard of it yet
        begun = await asyncio.gather(*(call(each, seconds=60.0) for each in (first, second, late)))
        assert min(begun) >= paused_at + 29.99
        assert max(begun) <= paused_at + 34.0
        assert observer.pauses == 1

    run_in_virtual_time(work())


@pytest.mark.parametrize("limits", [FREE, ONE_A_SECOND], ids=["free", "rate"])
def test_a_call_that_has_less_time_than_the_pause_fails_at_once_and_says_so(limits: LimitList) -> None:
    async def work() -> None:
        permits = permits_of(InMemoryStates(0.002), CLOCK, limits)
        async with permits.permit(wanted()) as permit:
            permit.begin()
            permit.pause(30.0)
        asked_at = CLOCK.monotonic()
        with pytest.raises(NoPermitError, match="wants no calls for another") as caught:
            await call(permits, seconds=10.0)
        assert CLOCK.monotonic() - asked_at < 0.1
        assert caught.value.kind == "rate_limit"
        assert caught.value.retry_after_seconds == pytest.approx(30.0, abs=0.2)
        assert permits.waiting == 0

    run_in_virtual_time(work())


@pytest.mark.parametrize("limits", [FREE, ONE_A_SECOND], ids=["free", "rate"])
def test_a_call_that_has_less_time_than_the_pause_fails_at_once_also_behind_one_that_waits(limits: LimitList) -> None:
    async def work() -> None:
        permits = permits_of(InMemoryStates(0.002), CLOCK, limits)
        async with permits.permit(wanted()) as permit:
            permit.begin()
            permit.pause(30.0)
        asked_at = CLOCK.monotonic()
        patient = asyncio.create_task(call(permits, seconds=60.0))
        await CLOCK.sleep(0.01)
        with pytest.raises(NoPermitError, match="wants no calls for another"):
            await call(permits, seconds=10.0)
        assert CLOCK.monotonic() - asked_at < 0.1
        assert await patient >= asked_at + 29.99

    run_in_virtual_time(work())


def test_a_call_whose_turn_does_not_come_in_time_fails_and_says_so() -> None:
    async def work() -> None:
        observer = RecordingPermitObserver()
        permits = permits_of(InMemoryStates(0.002), CLOCK, ONE_A_SECOND, observer=observer)
        calls = await asyncio.gather(*(call(permits, seconds=2.5) for _ in range(6)), return_exceptions=True)
        failed = [each for each in calls if isinstance(each, NoPermitError)]
        assert len(failed) == 3
        assert "its limits are used up" in str(failed[0])
        assert observer.refusals == ["late"] * 3
        assert permits.waiting == 0

    run_in_virtual_time(work())


def test_limits_that_cannot_be_read_hold_everybody_up_and_nobody_goes() -> None:
    async def work() -> None:
        states, observer = InMemoryStates(0.002), RecordingPermitObserver()
        permits = permits_of(states, CLOCK, ONE_A_SECOND, observer=observer)
        states.is_away = True
        with pytest.raises(NoPermitError, match="cannot be read"):
            await call(permits, seconds=5.0)
        assert observer.refusals == ["unavailable"]
        patient = asyncio.create_task(call(permits, seconds=60.0))
        await CLOCK.sleep(3.0)
        assert not patient.done()
        states.is_away = False
        assert await patient == pytest.approx(CLOCK.monotonic(), abs=0.5)

    run_in_virtual_time(work())


def test_places_of_an_executor_that_is_gone_are_free_after_some_seconds() -> None:
    async def work() -> None:
        states = InMemoryStates(0.002)
        gone, other = (permits_of(states, CLOCK, TWO_AT_ONCE, name) for name in ("gone", "other"))
        held = [asyncio.create_task(call(gone, lasts=1000.0)) for _ in range(2)]
        await CLOCK.sleep(10.0)
        waiting = asyncio.create_task(call(other))
        await CLOCK.sleep(5.0)
        assert not waiting.done()  # it is alive and says so
        await gone.close()
        died_at = CLOCK.monotonic()
        assert died_at < await waiting <= died_at + 8.0
        for task in held:
            task.cancel()

    run_in_virtual_time(work())


def test_a_document_that_nobody_can_read_begins_anew_with_nothing_to_spend() -> None:
    async def work() -> None:
        states = InMemoryStates(0.002)
        await states.write("limit/local/=2A", b"not ours", 0)
        permits = permits_of(states, CLOCK, ONE_A_SECOND)
        assert 1.0 <= await call(permits) <= 1.1

    run_in_virtual_time(work())
