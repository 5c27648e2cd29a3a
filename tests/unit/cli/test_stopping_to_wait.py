"""Whoever stops waiting for the end of a command is let go, whatever arrives in the same moment."""

from __future__ import annotations

import asyncio
import contextlib

from evoline.client.talk import stopped
from shared.events import Fact


async def loses(cancellations: int) -> Fact:
    for _ in range(cancellations):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()
    raise AssertionError


async def fails() -> Fact:
    raise ValueError


async def test_lost_cancellations_are_repeated() -> None:
    tasks = [asyncio.create_task(loses(0)), asyncio.create_task(loses(2)), asyncio.create_task(fails())]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await stopped(tasks)
    assert [task.cancelled() for task in tasks] == [True, True, False]
