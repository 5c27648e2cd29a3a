"""Table 4: many runs in flight in one executor, and what a second executor adds."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bench.executor.evoline_client import Client, calls
from bench.executor.evoline_stack import ExecutorProcess, Stack
from bench.executor.loads import EngineFailedError, Plan
from bench.executor.rounds import progress
from bench.executor.standin_process import StandinProcess, standin_process

CALLS, CALL_SECONDS = 5, 0.3
IDEAL_SECONDS = CALLS * CALL_SECONDS
SHARING_SLOTS = 8
CALLING_RUN = calls(CALLS, "calling")
WAITING_EXECUTOR = "bench.executor.waiting_executor"


@dataclass(frozen=True)
class Flight:
    """All runs published at once. Seconds from the first command to the last end heard; bytes resident at most."""

    seconds: float
    cpu_seconds: float
    peak_memory: int
    served: int
    """Calls that the stand-in answered."""


@dataclass(frozen=True)
class Sharing:
    """The same runs by one executor and by two. Processor seconds a second, of all executors together."""

    one: float
    two: float
    busy_one: float
    busy_two: float


@dataclass
class Flights:
    bare: list[float] = field(default_factory=list)
    """The same calls through the SDK without Evoline, from one process."""
    called: list[Flight] = field(default_factory=list)
    waited: list[Flight] = field(default_factory=list)
    """With a model inside the executor that only waits."""
    patient: list[Flight] = field(default_factory=list)
    """As `called`, with calls as long as those of a large model."""
    sharing: list[Sharing] = field(default_factory=list)


async def measure_flights(stack: Stack, client: Client, standin: StandinProcess, plan: Plan) -> Flights:
    flights = Flights()

    async def bare() -> None:
        flights.bare.append(await bare_calls(standin.url, plan.flight_runs))

    async def called() -> None:
        before = await standin.served()
        flight = await fly(stack, client, plan.flight_runs, standin.variables)
        flights.called.append(replace(flight, served=await standin.served() - before))

    async def waited() -> None:
        variables = {"EVOLINE_BENCH_CALL_SECONDS": str(CALL_SECONDS), "EVOLINE_PROVIDER_CONCURRENCY": "1000"}
        flights.waited.append(await fly(stack, client, plan.flight_runs, variables, WAITING_EXECUTOR))

    for number in range(plan.flight_rounds):
        parts = [bare, called, waited]
        for part in parts if number % 2 == 0 else parts[::-1]:
            await part()
        flights.sharing.append(await share_work(stack, client, standin.variables, plan, one_first=number % 2 == 0))
        progress(f"in flight: round {number + 1} of {plan.flight_rounds}")
    async with standin_process(plan.patient_call_seconds) as slow:
        flights.patient.append(await fly(stack, client, plan.flight_runs, slow.variables))
    progress("in flight: long calls")
    return flights


async def fly(stack: Stack, client: Client, runs: int, variables: Mapping[str, str], module: str = "services.executor") -> Flight:
    pipeline = str(CALLING_RUN["name"])
    async with stack.executor(runs, variables, module) as executor:
        await client.run(pipeline)
        cpu = executor.cpu_seconds
        sample = await client.measure(pipeline, runs, at_once=runs)
        return Flight(sample.seconds, executor.cpu_seconds - cpu, executor.peak_memory, served=0)


async def bare_calls(url: str, chains: int) -> float:
    command = [sys.executable, "-m", "bench.executor.bare_calls", url, str(chains), str(CALLS)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    told, _ = await process.communicate()
    if process.returncode != 0:
        raise EngineFailedError("the bare calls failed; see above")
    return float(told)


async def share_work(stack: Stack, client: Client, variables: Mapping[str, str], plan: Plan, *, one_first: bool) -> Sharing:
    async with stack.executor(SHARING_SLOTS, variables) as first:
        one = await _timed(client, plan, first) if one_first else None
        async with stack.executor(SHARING_SLOTS, variables) as second:
            two = await _timed(client, plan, first, second)
        one = one or await _timed(client, plan, first)
    return Sharing(one[0], two[0], one[1], two[1])


async def _timed(client: Client, plan: Plan, *executors: ExecutorProcess) -> tuple[float, float]:
    """(seconds, processor seconds a second of these executors)"""
    pipeline = str(CALLING_RUN["name"])
    warm_up = min(plan.sharing_runs, SHARING_SLOTS * len(executors))
    await client.measure(pipeline, warm_up, at_once=warm_up)
    cpu = sum(executor.cpu_seconds for executor in executors)
    sample = await client.measure(pipeline, plan.sharing_runs, at_once=plan.sharing_runs)
    return sample.seconds, (sum(executor.cpu_seconds for executor in executors) - cpu) / sample.seconds
