"""What the guardrail does in rounds outlives a store that is away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from services.guardrail.app import run_in_rounds
from services.guardrail.ports import AuditLogUnsoundError
from shared.background import Background
from shared.errors import UnavailableError


@dataclass
class Said:
    heard: list[str] = field(default_factory=list)

    def __call__(self) -> None:
        self.heard.append("went well")

    def put_off(self, reason: str) -> None:
        self.heard.append(reason)


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
    running = asyncio.create_task(registered["look"](Said()))
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


async def looks(fault: Exception) -> tuple[list[str], list[str]]:
    """(readiness as seen by each of five rounds, of which the first two meet the fault; what ended the process)."""
    seen, failed, fifth = list[str](), list[str](), asyncio.Event()
    clock: Any = ShortSleeps()
    background = Background(clock, fail=failed.append, begun_again=failed.append)
    registered: dict[str, Any] = {}
    host: Any = SimpleNamespace(clock=clock, run_in_background=registered.__setitem__)

    async def work() -> None:
        try:
            await background.check()
            seen.append("ready")
        except UnavailableError as error:
            seen.append(str(error))
        if len(seen) == 5:
            fifth.set()
        if len(seen) <= 2:
            raise fault

    run_in_rounds(host, "look", work, 5.0)
    running = asyncio.create_task(background.run("look", registered["look"]))
    await fifth.wait()
    running.cancel()
    return seen, failed


async def test_a_service_whose_rounds_the_store_does_not_answer_is_not_ready_until_one_goes_well() -> None:
    waits = "look waits: the store is away"
    assert await looks(UnavailableError("the store is away")) == (["ready", waits, waits, "ready", "ready"], [])


async def test_a_log_that_is_not_sound_is_no_outage() -> None:
    assert await looks(AuditLogUnsoundError(["entry 3 is another"])) == (["ready"] * 5, [])
