"""A client of the executors that publishes commands and hears of their ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bench.executor.loads import EngineFailedError, Load, Sample
from shared.events.message import Fact
from shared.events.runs import ExecuteRun, RunFinished
from shared.messaging.bus import Bus, Received
from shared.settings import SharedSettings

EVOLINE = "Evoline"
RUN_SECONDS = 150.0


@dataclass
class Client:
    bus: Bus
    ends: dict[str, asyncio.Future[RunFinished]] = field(default_factory=dict)
    published_at: dict[str, float] = field(default_factory=dict)
    """Seconds since the epoch, taken before the command is encoded."""

    async def begin(self, pipeline: str) -> str:
        """Returns the run's id once the broker has the command on disk."""
        order = ExecuteRun(run_id=uuid.uuid4().hex, pipeline=pipeline)
        self.ends[order.run_id] = asyncio.get_running_loop().create_future()
        self.published_at[order.run_id] = time.time()
        await self.bus.publish(order, cause=order.run_id)
        return order.run_id

    async def end(self, run_id: str) -> RunFinished:
        """Raises `EngineFailedError` where the run did not succeed, or no end was heard in time."""
        try:
            async with asyncio.timeout(RUN_SECONDS):
                finished = await self.ends[run_id]
        except TimeoutError as error:
            raise EngineFailedError(f"run {run_id} did not end within {RUN_SECONDS:g} s") from error
        finally:
            del self.ends[run_id]
        if finished.status != "succeeded":
            raise EngineFailedError(f"run {run_id} ended as {finished.status}: {finished.error}")
        return finished

    async def run(self, pipeline: str) -> RunFinished:
        return await self.end(await self.begin(pipeline))

    async def measure(self, pipeline: str, runs: int, at_once: int) -> Sample:
        """Raises as `end` does."""
        each: list[float] = []
        left = iter(range(runs))

        async def worker() -> None:
            for _ in left:
                started = time.perf_counter()
                await self.run(pipeline)
                each.append(time.perf_counter() - started)

        started = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(at_once):
                    workers.create_task(worker())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return Sample(time.perf_counter() - started, each)

    async def hear(self, facts: AsyncIterator[tuple[Fact, Received]]) -> None:
        async for fact, _ in facts:
            if isinstance(fact, RunFinished) and (end := self.ends.get(fact.run_id)) is not None and not end.done():
                end.set_result(fact)


@contextlib.asynccontextmanager
async def client_of(nats_url: str) -> AsyncIterator[Client]:
    bus = await Bus.connect(SharedSettings(nats_url=nats_url), service="client")
    try:
        async with bus.follow(RunFinished) as stream:
            client = Client(bus)
            hearing = asyncio.create_task(client.hear(stream))
            try:
                yield client
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
    finally:
        await bus.close()


@dataclass(frozen=True)
class EvolineEngine:
    """Commands published by this process, executed by another, ends heard by this one."""

    client: Client
    name: str = EVOLINE
    slow: bool = False

    async def measure(self, load: Load) -> Sample:
        return await self.client.measure(no_ops_name(load.steps), load.runs, load.at_once)


def no_ops_name(steps: int) -> str:
    return f"no_ops_{steps}"


def no_ops(steps: int) -> dict[str, object]:
    members = [{"name": f"s{n}", "type": "set_variable", "variable": f"v{n}", "value": n} for n in range(steps)]
    return {"name": no_ops_name(steps), "steps": members}


def calls(count: int, name: str, prompt: str = "bench") -> dict[str, object]:
    """A pipeline of provider calls, one after another."""
    return {"name": name, "steps": [{"name": f"call{n}", "type": "claude", "prompt": prompt} for n in range(count)]}
