"""What the guardrail does in rounds outlives a store that is away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from services.guardrail.app import run_in_rounds
from shared.errors import UnavailableError


class ShortSleeps:
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def rounds(fault: Exception) -> int:
    """How many rounds are begun where each one meets the fault; looks until the third."""
    registered: dict[str, Any] = {}
    host: Any = SimpleNamespace(clock=ShortSleeps(), run_in_background=registered.__setitem__)
    begun, third = 0, asyncio.Event()

    async def work() -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            third.set()
        raise fault

    run_in_rounds(host, "look", work, 5.0)
    running = asyncio.create_task(registered["look"](lambda: None))
    waiting = asyncio.create_task(third.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        running.result()
    running.cancel()
    return begun


async def test_a_round_that_the_store_does_not_answer_is_followed_by_the_next() -> None:
    assert await rounds(UnavailableError("the store is away")) >= 3


async def test_a_fault_of_the_program_ends_the_rounds() -> None:
    with pytest.raises(ZeroDivisionError):
        await rounds(ZeroDivisionError())
