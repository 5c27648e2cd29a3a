"""How long a bad revision goes on starting after its rollback was told, while runs are asked for 200 times a second.

`python -m bench.guardrail.rollback [repetitions]`. The moment of a start is that at which the broker stored `RunStarted`, which is
published beside the first step: a little after the start, never before it. The rollback counts from the moment at which its
fact was stored."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.guardrail.stack import guarded_stack
from shared.errors import EvolineError
from shared.events.changes import ChangeVetoed
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackPipeline
from shared.events.runs import ExecuteRun, RunFinished, RunStarted
from shared.messaging.bus import Bus
from tests.eventually import eventually
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.people import own

EXECUTORS, SLOTS, RUNS_A_SECOND = 3, 8, 200
BEFORE_SECONDS, AFTER_SECONDS = 0.6, 2.2
NAME = "triage"
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Repetition:
    bad_before: int
    """Starts on the bad revision before the rollback was told: it was really serving."""
    last_bad_seconds: float
    """After the rollback was told; 0 where none came."""
    bad_after: int
    bad_after_2_seconds: int
    good_after: int
    queued: int
    """Commands that waited when the rollback was told."""


def saying(word: str) -> dict[str, Any]:
    return pipeline(name=NAME, steps=[{"name": "classify", "type": "set_variable", "variable": "label", "value": word}])


@contextlib.asynccontextmanager
async def load(bus: Bus, asked: set[str]) -> AsyncIterator[None]:
    """Asks for runs at a steady rate, whether the fleet keeps up or not."""

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        began, count = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while True:
                while count < (loop.time() - began) * RUNS_A_SECOND:
                    command = ExecuteRun(run_id=uuid.uuid4().hex, pipeline=NAME, inputs={"text": "a message"})
                    asked.add(command.run_id)
                    group.create_task(_publish(bus, command))
                    count += 1
                await asyncio.sleep(0.005)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _publish(bus: Bus, command: ExecuteRun) -> None:
    await bus.publish(command, cause=command.run_id)


async def deploy(bus: Bus, word: str) -> str:
    change = proposal(saying(word), f"c-{uuid.uuid4().hex[:12]}")
    async with bus.follow(PipelineDeployed, ChangeVetoed) as facts:
        await own(bus, change).publish(change, cause=change.change_id)
        async for fact, _ in facts:
            if isinstance(fact, ChangeVetoed):
                raise EvolineError(f"not deployed: {fact.reasons}")
            if isinstance(fact, PipelineDeployed) and fact.change_id == change.change_id:
                return fact.digest
    raise RuntimeError("the facts ended")


class Starts:
    """Every start and end as the broker stored it."""

    def __init__(self) -> None:
        self.seen: list[tuple[datetime, str]] = []
        self.ended: set[str] = set()
        self.rolled_back: dict[str, datetime] = {}

    async def listen(self, bus: Bus, ready: asyncio.Event) -> None:
        async with bus.follow(RunStarted, RunFinished, PipelineRolledBack) as facts:
            ready.set()
            async for fact, received in facts:
                if isinstance(fact, RunStarted):
                    self.seen.append((received.time, fact.digest))
                elif isinstance(fact, RunFinished):
                    self.ended.add(fact.run_id)
                elif isinstance(fact, PipelineRolledBack):
                    self.rolled_back[fact.rollback_id] = received.time


async def repetition(bus: Bus, starts: Starts, number: int, asked: set[str]) -> Repetition:
    await deploy(bus, f"good {uuid.uuid4().hex}")
    bad = await deploy(bus, f"bad {number}")
    await asyncio.sleep(BEFORE_SECONDS)
    command = RollbackPipeline(rollback_id=f"r-{uuid.uuid4().hex[:12]}", pipeline=NAME, reason="bench", author="alice")
    await own(bus, command).publish(command, cause=command.rollback_id)
    await eventually(lambda: command.rollback_id in starts.rolled_back, PATIENCE_SECONDS)
    queued = len(asked - starts.ended)
    await asyncio.sleep(AFTER_SECONDS)
    told = starts.rolled_back[command.rollback_id]
    after = [(moment - told).total_seconds() for moment, digest in starts.seen if digest == bad and moment > told]
    return Repetition(
        bad_before=sum(digest == bad for moment, digest in starts.seen if moment <= told),
        last_bad_seconds=max(after, default=0.0),
        bad_after=len(after),
        bad_after_2_seconds=sum(seconds > 2.0 for seconds in after),
        good_after=sum(digest != bad for moment, digest in starts.seen if moment > told),
        queued=queued,
    )


async def measured(repetitions: int) -> list[Repetition]:
    async with guarded_stack() as (stack, bus):
        await stack.start("guardrail", "guardrail")
        for number in range(EXECUTORS):
            own = {"EVOLINE_EXECUTOR_CONCURRENCY": str(SLOTS), "EVOLINE_EXECUTOR_ID": f"executor-{number}"}
            await stack.start(f"executor-{number}", "executor", own)
        starts, asked, ready = Starts(), set[str](), asyncio.Event()
        listening = asyncio.create_task(starts.listen(bus, ready))
        await ready.wait()
        found = []
        for number in range(repetitions):
            async with load(bus, asked):
                found.append(await repetition(bus, starts, number, asked))
            print(number, found[-1], flush=True)
            await drained(starts, asked)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        return found


async def drained(starts: Starts, asked: set[str]) -> None:
    """No run is lost: each that was asked for ends."""
    await eventually(lambda: not asked - starts.ended, PATIENCE_SECONDS)
    asked.clear()
    starts.ended.clear()
    starts.seen.clear()


def summary(found: list[Repetition]) -> str:
    last = sorted(each.last_bad_seconds * 1000 for each in found)
    lines = [
        f"repetitions: {len(found)}",
        f"last start on the bad revision after the rollback was told, ms: median {last[len(last) // 2]:.0f}, "
        f"p99 {last[min(len(last) - 1, int(len(last) * 0.99))]:.0f}, largest {last[-1]:.0f}",
        f"starts on it before: {sum(each.bad_before for each in found)}, after: {sum(each.bad_after for each in found)}, "
        f"more than 2 s after: {sum(each.bad_after_2_seconds for each in found)}",
        f"starts on the good one after: {sum(each.good_after for each in found)}",
        f"commands waiting when it was told, median: {sorted(each.queued for each in found)[len(found) // 2]}",
    ]
    return "\n".join(lines)


def main() -> None:
    print(summary(asyncio.run(measured(int(sys.argv[1]) if len(sys.argv) > 1 else 50))))


if __name__ == "__main__":
    main()
