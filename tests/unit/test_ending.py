"""Tasks that lose a request to cancel end all the same."""

from __future__ import annotations

import asyncio

import pytest

from shared import ending
from shared.clock import SystemClock
from shared.ending import end_tasks
from shared.messaging.lease import Lease


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.01)


class Deaf:
    """Swallows as many requests to cancel as it is told to, as a publish of nats-py does."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.heard = 0

    async def go_on(self) -> None:
        while True:
            await self.in_progress()

    async def in_progress(self) -> None:
        """As a message whose sign of life is published."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.heard += 1
            if self.heard > self.losses:
                raise


async def test_a_task_that_swallows_cancellations_ends() -> None:
    deaf = Deaf(losses=3)
    task = asyncio.create_task(deaf.go_on())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks(task), 5)
    assert task.cancelled() and deaf.heard == 4


async def test_wait_for_loses_a_cancellation_that_meets_its_answer() -> None:
    """Why one request is not enough; where this fails, Python has mended it."""
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def rounds() -> None:
        await asyncio.wait_for(answer, 60)
        await asyncio.sleep(60)

    task = asyncio.create_task(rounds())
    await asyncio.sleep(0)
    answer.set_result(None)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    await asyncio.wait_for(end_tasks(task), 5)
    assert task.cancelled()


async def test_what_a_task_raised_is_dropped_and_one_that_is_over_is_left() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(broken())
    over = asyncio.get_running_loop().create_future()
    over.set_result("kept")
    await asyncio.wait_for(end_tasks(task, over), 5)
    assert isinstance(task.exception(), ValueError) and over.result() == "kept"


async def test_a_lease_ends_though_its_sign_of_life_swallows_the_cancellation() -> None:
    deaf = Deaf(losses=1)
    lease = Lease(deaf, SystemClock(), ack_wait_seconds=60, beat_seconds=0.001)  # type: ignore[arg-type]

    async def work() -> str:
        async with lease.kept():
            await asyncio.sleep(0.05)
            return "done"

    working = asyncio.create_task(work())
    await asyncio.wait({working}, timeout=5)
    assert working.done() and deaf.heard == 2
    assert await working == "done"
