"""How long a decision takes: `python -m bench.guardrail.decisions` writes bench/results/guardrail.md.

Open loop: changes are offered at a fixed rate whatever became of the ones before, over a real broker to a guardrail in a process
of its own with a real store. Timed from before the command is handed to the broker to the broker's time stamp of the verdict. Then
the same with a store that answers from memory: a bound of what a faster store could give, and nothing that anybody should run."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.executor.machine import machine
from bench.guardrail.processor_time import since, spent
from shared.attestation import create_key_pair
from shared.errors import EvolineError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, ProposeChange
from shared.events.policies import GetPolicy
from shared.messaging.bus import Bus
from shared.messaging.provisioning import provision
from shared.settings import SharedSettings
from tests.fakes.people import own, written_registry
from tests.servers import free_port, mongo_server, nats_server

RESULT = Path("bench/results/guardrail.md")
READY_SECONDS = 60.0
GRACE_SECONDS = 30.0
"""After the last offer: verdicts that are not there then are counted as missing."""
PROGRAMS = {"embedded": "services.guardrail", "memory": "bench.guardrail.in_memory"}
"""Store -> the guardrail's program."""
VERDICTS = (ChangeApproved, ChangeQueued, ChangeVetoed)


@dataclass
class Load:
    """What is offered. `mixed`: of ten changes four are approved and recorded, two deployed, two queued and two vetoed."""

    name: str
    a_second: float
    seconds: float
    offered: dict[str, float] = field(default_factory=dict)
    """Change id -> wall clock before it was handed to the broker."""
    decided: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Change id -> (verdict, seconds)."""
    processor: dict[str, float] = field(default_factory=dict)
    """Seconds that each part computed until the last verdict was there."""

    def row(self) -> str:
        times = sorted(seconds for _, seconds in self.decided.values())
        missing = len(self.offered) - len(times)
        told = " / ".join(f"{1000 * percentile(times, share):.1f} ms" for share in (0.5, 0.9, 0.99, 1.0)) if times else "-"
        cost = [f"{1000 * seconds / max(1, len(times)):.1f}" for seconds in self.processor.values()]
        return f"| {self.name} | {self.a_second:g} | {len(self.offered)} | {missing} | {told} | {' / '.join(cost)} |"


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0, 25.0, 50.0, 100.0], help="changes a second")
    parser.add_argument("--kinds", nargs="+", default=["mixed", "recorded", "vetoed"], help="mixed, recorded, deployed, vetoed")
    parser.add_argument("--stores", nargs="+", choices=list(PROGRAMS), default=list(PROGRAMS), help="embedded, memory")
    given = parser.parse_args()
    before = os.getloadavg()[0]
    loads = {store: [Load(kind, rate, given.seconds) for kind in given.kinds for rate in given.rates] for store in given.stores}
    for store in given.stores:
        for together in [loads[store]] if store == "embedded" else [[load] for load in loads[store]]:
            asyncio.run(measure(together, PROGRAMS[store]))
    RESULT.write_text(report(loads, before))
    print(RESULT.read_text())


def report(loads: dict[str, list[Load]], load_before: float) -> str:
    lines = [
        "# Decisions of the guardrail",
        "",
        f"`make bench-guardrail`; {machine()}. Load average of the machine before it started: {load_before:.1f}.",
        "",
        "Changes offered at a fixed rate, open loop, over a real broker (`sync_interval: always`) to one guardrail process with",
        "the embedded store; everything on this machine. A decision is timed from before the command is handed to the broker to",
        "the broker's time stamp of the verdict. `mixed`: of ten changes four are approved and recorded, two approved and",
        "deployed, two queued for people, two vetoed; `recorded`, `deployed`, `vetoed`: all of them are. Each load begins when",
        "nothing is left of the one before. The last column is the processor time of one change, in milliseconds.",
        *(_table(loads["embedded"]) if "embedded" in loads else ()),
        *(_bound(loads["memory"]) if "memory" in loads else ()),
        "",
    ]
    return "\n".join(lines)


def _bound(loads: list[Load]) -> list[str]:
    return [
        "",
        "## What the guardrail itself costs",
        "",
        "The same guardrail, broker and client, with a store that answers from the guardrail's own memory. Nobody runs it like",
        "this: nothing is kept. It tells about what a store that costs nothing would leave. Each load begins with a new guardrail,",
        "because the memory copies every document and looks through all of them where it has no index: that is in the guardrail's",
        "processor time, and grows with a load's number of changes.",
        *_table(loads),
    ]


def _table(loads: list[Load]) -> list[str]:
    return [
        "",
        "| changes | a second | offered | undecided | p50 / p90 / p99 / most | store / guardrail / broker / client |",
        "|---|---|---|---|---|---|",
        *(each.row() for each in loads),
    ]


async def measure(loads: list[Load], program: str = PROGRAMS["embedded"]) -> list[Load]:
    with tempfile.TemporaryDirectory(prefix="evoline-bench-") as folder, nats_server() as nats_url, mongo_server() as mongo_url:
        await provision(nats_url)
        with guardrail(Path(folder), nats_url, mongo_url, program):
            async with connected(nats_url) as bus:
                await ready(bus)
                for load in loads:
                    before = spent()
                    await offer(bus, load)
                    load.processor = since(before)
                    print(load.row(), file=sys.stderr)
                    await settled(bus)
    return loads


@contextlib.contextmanager
def guardrail(
    folder: Path, nats_url: str, mongo_url: str, program: str = PROGRAMS["embedded"]
) -> Iterator[subprocess.Popen[bytes]]:
    keys = create_key_pair(folder / "keys")
    environment = os.environ | {
        "EVOLINE_NATS_URL": nats_url,
        "EVOLINE_MONGO_URL": mongo_url,
        "EVOLINE_HTTP_PORT": str(free_port()),
        "EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE": str(keys.public),
        "EVOLINE_IDENTITIES_FILE": str(written_registry(folder / "keys")),
        "EVOLINE_GUARDRAIL_PRIVATE_KEY_FILE": str(keys.private),
    }
    with (folder / "guardrail.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", program], env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@contextlib.asynccontextmanager
async def connected(nats_url: str) -> AsyncIterator[Bus]:
    bus = await Bus.connect(SharedSettings(nats_url=nats_url), service="cli")
    try:
        yield bus
    finally:
        await bus.close()


async def ready(bus: Bus) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            await bus.ask(GetPolicy(), 2.0)
            return
        except EvolineError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def settled(bus: Bus) -> None:
    """Returns when no proposal waits any more: what one load leaves behind is not the next one's time."""
    while True:
        info = await bus.jetstream.consumer_info("CMD", "guardrail-propose")
        if not (info.num_pending or info.num_ack_pending):
            return
        await asyncio.sleep(0.2)


async def offer(bus: Bus, load: Load) -> None:
    commands = [change(load, number) for number in range(int(load.a_second * load.seconds))]
    async with bus.follow(*VERDICTS) as facts, asyncio.TaskGroup() as group:
        listening = group.create_task(_listen(facts, load, len(commands)))
        started = time.monotonic()
        for number, command in enumerate(commands):
            await asyncio.sleep(max(0.0, started + number / load.a_second - time.monotonic()))
            group.create_task(_offer_one(bus, load, command))
        try:
            await asyncio.wait_for(asyncio.shield(listening), GRACE_SECONDS)
        except TimeoutError:
            listening.cancel()


async def _offer_one(bus: Bus, load: Load, command: ProposeChange) -> None:
    load.offered[command.change_id] = time.time()
    await own(bus, command).publish(command, cause=command.change_id)


async def _listen(facts: AsyncIterator[Any], load: Load, count: int) -> None:
    async for fact, received in facts:
        if fact.change_id in load.offered and fact.change_id not in load.decided:
            seconds = received.time.timestamp() - load.offered[fact.change_id]
            load.decided[fact.change_id] = (type(fact).__name__, seconds)
        if len(load.decided) == count:
            return


_NUMBERS = itertools.count()
_MIX = ("recorded", "vetoed", "recorded", "queued", "deployed", "recorded", "vetoed", "recorded", "queued", "deployed")


def change(load: Load, number: int) -> ProposeChange:
    """A pipeline of three steps under a name of its own."""
    kind = _MIX[number % len(_MIX)] if load.name == "mixed" else load.name
    name = f"bench_{load.name}_{int(load.a_second)}_{next(_NUMBERS)}"
    steps: list[dict[str, Any]] = [
        {"name": "classify", "type": "claude", "prompt": f"Which team answers ticket {number}? {{{{ text }}}}"},
        {"name": "check", "type": "claude", "prompt": "Is {{ steps.classify.text }} right for {{ text }}?"},
        {"name": "answer", "type": "set_variable", "variable": "said", "value": "{{ steps.check.text }}"},
    ]
    if kind == "queued":
        steps[0]["model"] = "an-unlisted-model"
    document = {"name": name, "domain": "support", "inputs": {"text": "string"}, "steps": steps}
    if kind == "vetoed":
        document["limits"] = {"calls": 5000}
    return ProposeChange(
        change_id=name,
        kind="revision",
        pipeline=name,
        document=document,
        domain="support",
        author="generator",
        deploy=kind != "recorded",
    )


if __name__ == "__main__":
    main()
