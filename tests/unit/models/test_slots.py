from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evoline.model_server.slots import SlotPool, shared

EXAMPLES = tuple(range(300))
"""A beginning that is worth sharing."""


def prompt(item: int) -> tuple[int, ...]:
    return (*EXAMPLES, 1000 + item, 2000 + item)


async def never(task: asyncio.Future[Any]) -> bool:
    for _ in range(5):
        await asyncio.sleep(0)
    return not task.done()


@pytest.mark.parametrize(
    ("one", "other", "length"), [((), (), 0), ((1, 2, 3), (1, 2, 4), 2), ((1, 2), (1, 2, 3), 2), ((5,), (6,), 0)]
)
def test_shared_is_the_length_of_the_common_beginning(one: tuple[int, ...], other: tuple[int, ...], length: int) -> None:
    assert shared(one, other) == length


async def test_a_call_goes_to_the_slot_that_holds_most_of_its_prompt() -> None:
    pool = SlotPool(2)
    first, second = await pool.acquire((1, 2, 3)), await pool.acquire((7, 8, 9))
    pool.release(first)
    pool.release(second)
    assert (await pool.acquire((7, 8, 5))).slot == second.slot


async def test_a_long_new_beginning_is_kept_for_others() -> None:
    lease = await SlotPool(2).acquire(prompt(0))
    assert lease.keep_as
    assert lease.snapshot is None


async def test_a_short_prompt_is_not_worth_a_snapshot() -> None:
    assert (await SlotPool(2).acquire((1, 2, 3))).keep_as is None


async def test_a_second_call_waits_for_the_one_that_evaluates_its_beginning_and_then_starts_from_it() -> None:
    pool = SlotPool(2)
    first = await pool.acquire(prompt(0))
    second = asyncio.ensure_future(pool.acquire(prompt(1)))
    assert await never(second)
    pool.evaluated(first)
    lease = await second
    assert (lease.snapshot, lease.slot) == (first.keep_as, 1 - first.slot)


async def test_a_call_with_another_beginning_does_not_wait() -> None:
    pool = SlotPool(2)
    await pool.acquire(prompt(0))
    waiting = asyncio.ensure_future(pool.acquire(prompt(1)))
    other = await pool.acquire((9, 9, 9))
    assert not waiting.done()
    assert other.snapshot is None
    waiting.cancel()


async def test_calls_wait_when_all_slots_are_busy_and_go_on_in_order_of_arrival() -> None:
    pool = SlotPool(1)
    first = await pool.acquire((1,))
    second, third = asyncio.ensure_future(pool.acquire((2,))), asyncio.ensure_future(pool.acquire((3,)))
    assert await never(second)
    assert pool.waiting == 2
    pool.release(first)
    lease = await second
    assert await never(third)
    pool.release(lease)
    assert (await third).slot == 0


async def test_a_cancelled_wait_frees_its_place() -> None:
    pool = SlotPool(1)
    first = await pool.acquire((1,))
    gone, waiting = asyncio.ensure_future(pool.acquire((2,))), asyncio.ensure_future(pool.acquire((3,)))
    await never(gone)
    gone.cancel()
    pool.release(first)
    assert (await waiting).slot == 0


async def test_a_slot_granted_to_a_call_that_was_cancelled_is_given_to_the_next() -> None:
    pool = SlotPool(1)
    first = await pool.acquire((1,))
    gone = asyncio.ensure_future(pool.acquire((2,)))
    await never(gone)
    pool.release(first)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert pool.busy == 0
    assert (await pool.acquire((3,))).slot == 0


async def test_a_failed_evaluation_lets_the_waiting_call_evaluate_itself() -> None:
    pool = SlotPool(2)
    first = await pool.acquire(prompt(0))
    second = asyncio.ensure_future(pool.acquire(prompt(1)))
    await never(second)
    pool.release(first, evaluated=False)
    lease = await second
    assert lease.snapshot is None
    assert lease.keep_as


async def test_a_snapshot_that_is_still_used_is_never_overwritten() -> None:
    pool = SlotPool(1, snapshots=2)
    popular = await pool.acquire(prompt(0))
    pool.evaluated(popular)
    pool.release(popular)
    for beginning in range(1, 5):
        other = await pool.acquire(tuple(range(beginning * 1000, beginning * 1000 + 100)))
        assert other.keep_as != popular.keep_as
        pool.evaluated(other)
        pool.release(other)
        again = await pool.acquire(prompt(beginning))
        assert again.snapshot == popular.keep_as
        pool.release(again)
