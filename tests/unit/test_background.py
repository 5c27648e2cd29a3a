"""Work beside the messages: what an outage ends begins again, and what is broken ends the process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from shared.background import LONGEST_PAUSE_SECONDS, Background, WentWell
from shared.errors import UnavailableError
from tests.fakes.virtual_time import LoopClock, run_in_virtual_time


@dataclass
class Desk:
    """A service's background, and what it heard."""

    failed: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    clock: LoopClock = field(default_factory=LoopClock)

    def __post_init__(self) -> None:
        self.background = Background(self.clock, fail=self.failed.append, begun_again=self.again.append)


def test_an_outage_of_minutes_begins_the_work_again_with_longer_pauses_and_says_so() -> None:
    async def story() -> tuple[Desk, list[float]]:
        desk, begun = Desk(), list[float]()

        async def work(went_well: WentWell) -> None:
            begun.append(desk.clock.monotonic())
            if desk.clock.monotonic() < 100:
                raise UnavailableError("the store is away")
            went_well()
            await asyncio.Event().wait()

        task = asyncio.create_task(desk.background.run("sweeper", work))
        await desk.clock.sleep(50)
        with pytest.raises(UnavailableError, match="sweeper waits: the store is away"):
            await desk.background.check()
        await desk.clock.sleep(70)
        await desk.background.check()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return desk, begun

    desk, begun = run_in_virtual_time(story())
    pauses = [later - earlier for earlier, later in pairwise(begun)]
    assert pauses == sorted(pauses) and pauses[0] < 1 and max(pauses) == LONGEST_PAUSE_SECONDS
    assert (desk.failed, desk.again) == ([], ["sweeper"] * (len(begun) - 1))


def test_an_attempt_that_hangs_after_an_outage_is_not_ready_and_pauses_longer_and_longer() -> None:
    async def story() -> list[float]:
        desk, begun = Desk(), list[float]()

        async def work(_: WentWell) -> None:
            begun.append(desk.clock.monotonic())
            if len(begun) > 1:
                await desk.clock.sleep(10)
            raise UnavailableError("the store does not answer")

        task = asyncio.create_task(desk.background.run("sweeper", work))
        for _ in range(60):
            await desk.clock.sleep(1)
            with pytest.raises(UnavailableError, match="sweeper waits: the store does not answer"):
                await desk.background.check()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return begun

    begun = run_in_virtual_time(story())
    assert begun == [0, 0.5, 11.5, 23.5, 37.5, 55.5]


def test_work_that_went_well_for_a_while_pauses_briefly_at_the_next_outage() -> None:
    async def story() -> list[float]:
        desk, begun = Desk(), list[float]()

        async def work(went_well: WentWell) -> None:
            begun.append(desk.clock.monotonic())
            await desk.clock.sleep(4)
            went_well()
            raise ConnectionResetError("gone")

        task = asyncio.create_task(desk.background.run("sweeper", work))
        await desk.clock.sleep(60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert desk.failed == []
        return begun

    begun = run_in_virtual_time(story())
    assert len(begun) == 14


@pytest.mark.parametrize("fault", ["fails", "ends"])
def test_what_is_broken_or_ends_by_itself_ends_the_process(fault: str) -> None:
    async def story() -> Desk:
        desk = Desk()

        async def work(_: WentWell) -> None:
            if fault == "fails":
                raise RuntimeError("a bug")

        await desk.background.run("sweeper", work)
        return desk

    desk = run_in_virtual_time(story())
    assert desk.again == []
    assert desk.failed == [f"background work sweeper {'failed: a bug' if fault == 'fails' else 'ended'}"]
