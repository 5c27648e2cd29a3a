"""A storm of kill -9, and of stalls beyond the broker's patience, over executors in the middle of 200 runs."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.executor.adapters.mongo_runs import MongoJournal
from services.executor.domain.records import JournalEntry
from shared.attestation import public_pem
from shared.clock import SystemClock
from shared.events.runs import ExecuteRun
from shared.events.values import Budget
from shared.messaging.fleet import Fleet
from shared.storage import MongoStore, connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.blobs import InMemoryBlobs
from tests.fakes.executor import Notary

pytestmark = pytest.mark.usefixtures("empty_streams")

RUNS, STEPS = 200, 60
EXECUTORS, PLACES = 7, 60
WAVES, KILLED_AT_ONCE = 10, 3
"""The executors that are left have places for all runs."""
CALL_SECONDS = 1.0
RESUME_SECONDS = 12.0
"""Goal for the 99th percentile, from the kill to the next owner's claim."""
DOCUMENT: dict[str, Any] = {
    "name": "patient",
    "inputs": {"word": "string"},
    "limits": {"steps": STEPS, "calls": 10 * STEPS},
    "steps": [{"name": f"s{n}", "type": "claude", "prompt": "{{ word }}-" + str(n), "context": "none"} for n in range(STEPS)],
    "outputs": {"last": f"{{{{ steps.s{STEPS - 1}.text }}}}"},
}
CALL = re.compile(r"(?P<executor>\S+) .*?w(?P<run>\d+)w.*?-(?P<step>\d+)\b")


@contextlib.asynccontextmanager
async def executor_process(name: str, environment: dict[str, str], folder: Path) -> AsyncIterator[Process]:
    """Ready when entered, gone when left; its log is in `<folder>/<name>.log`."""
    variables = {**os.environ, "PYTHONPATH": ".", **environment, "EVOLINE_EXECUTOR_ID": name}
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.executor_process", stdout=output, stderr=output, env=variables
        )
    try:
        await eventually(lambda: process.returncode is not None or "service started" in log.read_text(), timeout_seconds=30)
        assert process.returncode is None, log.read_text()[-3000:]
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Calls:
    """What the executors' models were asked, in order."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def made(self) -> list[tuple[str, str]]:
        """(run id, step path) of each call."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        found = [CALL.match(line) for line in lines]
        assert all(found), "a call of no known prompt"
        return [(f"kill-{each['run']}", f"s{each['step']}") for each in found if each]

    async def more(self, count: int) -> None:
        goal = len(self.made()) + count
        await eventually(lambda: len(self.made()) >= goal, timeout_seconds=60)


@dataclass
class Storm:
    """Replaces executors by new ones, the oldest first, after killing or stalling them."""

    environment: dict[str, str]
    folder: Path
    stack: contextlib.AsyncExitStack
    live: list[tuple[str, Process]] = field(default_factory=list)
    lost_at: dict[str, datetime] = field(default_factory=dict)
    """Executor -> when it was killed or stalled."""
    stalled: list[Process] = field(default_factory=list)
    _started: int = 0

    async def start(self) -> None:
        name = f"x{self._started}"
        self._started += 1
        process = await self.stack.enter_async_context(executor_process(name, self.environment, self.folder))
        self.live.append((name, process))

    async def lose(self, signals: Sequence[int]) -> None:
        """The oldest ones, at once."""
        for number in signals:
            name, process = self.live.pop(0)
            process.send_signal(number)
            self.lost_at[name] = datetime.now(UTC)
            if number == signal.SIGSTOP:
                self.stalled.append(process)
        await asyncio.gather(*(self.start() for _ in signals))

    def wake(self) -> None:
        for process in self.stalled:
            process.send_signal(signal.SIGCONT)


@pytest.fixture
def store(mongo_url: str) -> Iterator[MongoStore]:
    opened = connect(SecretStr(mongo_url))
    yield opened
    opened.close()


@pytest.mark.alone
@pytest.mark.timeout(400)
async def test_thirty_kills_under_two_hundred_runs_lose_nothing_and_repeat_nothing(
    nats_url: str, mongo_url: str, store: MongoStore, open_bus: OpenBus, tmp_path: Path
) -> None:
    notary, calls = Notary(), Calls(tmp_path / "calls.log")
    await store.drop_database("evoline_executor")
    environment = environment_of(nats_url, mongo_url, notary, tmp_path)
    journal = MongoJournal(store.database("evoline_executor"), SystemClock(), InMemoryBlobs())
    trial: dict[str, Any] = {"document": DOCUMENT, "scope": notary.grant(budget=AMPLE), "purpose": "trial"}
    orders = [ExecuteRun(run_id=f"kill-{n}", inputs={"word": f"w{n}w"}, **trial) for n in range(RUNS)]
    async with contextlib.AsyncExitStack() as stack:
        storm = Storm(environment, tmp_path, stack)
        await asyncio.gather(*(storm.start() for _ in range(EXECUTORS)))
        running = asyncio.create_task(Fleet(await open_bus("cli")).run_all(orders, max_in_flight=RUNS, deadline_seconds=330))
        await calls.more(RUNS)
        for _ in range(WAVES):
            await storm.lose([signal.SIGKILL] * KILLED_AT_ONCE)
            await nobody_is_orphaned(store, storm)
            # A run whose owners are lost again and again before they finish a step would be ended for that.
            await calls.more(2 * RUNS)
        killed = dict(storm.lost_at)
        await storm.lose([signal.SIGSTOP])
        await nobody_is_orphaned(store, storm)
        assert not running.done(), "the runs were over before the last loss"
        storm.wake()
        runs = await running
        records = {run_id: await journal.entries(run_id) for run_id in runs}
    assert sorted(runs) == sorted(order.run_id for order in orders), "a run was lost"
    assert Counter((run.status, run.error[:200]) for run in runs.values()) == {("succeeded", ""): RUNS}
    assert problems(records) == []
    assert repeated_calls(records, calls.made()) == []
    assert len(killed) == WAVES * KILLED_AT_ONCE
    waits = resumes(records, killed)
    assert percentile(waits, 0.99) <= RESUME_SECONDS, sorted(waits)[-5:]


async def nobody_is_orphaned(store: MongoStore, storm: Storm) -> None:
    """Returns when every run has a live owner."""
    runs = store.database("evoline_executor").collection("runs")

    async def all_owned() -> bool:
        return not await runs.count({"status": "running", "executor_id": {"$in": list(storm.lost_at)}})

    await eventually(all_owned, timeout_seconds=60)


AMPLE = Budget(runs=RUNS, calls=100 * RUNS * STEPS, tokens=10**9, cost_usd=1000.0)


def environment_of(nats_url: str, mongo_url: str, notary: Notary, folder: Path) -> dict[str, str]:
    (folder / "guardrail.pub").write_bytes(public_pem(notary.key.public_key()))
    return {
        "EVOLINE_NATS_URL": nats_url,
        "EVOLINE_MONGO_URL": mongo_url,
        "EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE": str(folder / "guardrail.pub"),
        "EVOLINE_EXECUTOR_CONCURRENCY": str(PLACES),
        "EVOLINE_EXECUTOR_WORKSPACE_DIR": str(folder / "workspaces"),
        "EVOLINE_PROVIDER_CONCURRENCY": str(PLACES),
        "EVOLINE_TEST_CALLS_FILE": str(folder / "calls.log"),
        "EVOLINE_TEST_CALL_SECONDS": str(CALL_SECONDS),
    }


Journals = Mapping[str, Sequence[JournalEntry]]


def problems(journals: Journals) -> list[str]:
    """Steps that were finished twice or not at all, and lines that an owner wrote behind its successor's claim."""
    found = []
    for run_id, lines in journals.items():
        finished = Counter(line.path for line in lines if line.kind == "step")
        if finished != Counter(f"s{n}" for n in range(STEPS)):
            found.append(f"{run_id} finished {finished}")
        epochs = [line.epoch for line in lines]
        if epochs != sorted(epochs):
            found.append(f"{run_id} holds a late write: {epochs}")
    return found


def repeated_calls(journals: Journals, made: Sequence[tuple[str, str]]) -> list[str]:
    """Steps that were asked for more than once without an owner lost meanwhile: each loss costs a run one call at most."""
    found, counts = [], Counter(made)
    for run_id, lines in journals.items():
        lost = sum(line.kind == "claim" for line in lines)
        repeats = sum(counts[run_id, f"s{n}"] - 1 for n in range(STEPS))
        if repeats > lost:
            found.append(f"{run_id}: {repeats} calls repeated, {lost} owners lost")
    return found


def resumes(journals: Journals, lost_at: Mapping[str, datetime]) -> list[float]:
    """Seconds from the loss of each owner to the claim of the next one."""
    found = []
    for lines in journals.values():
        owner = ""
        for line in lines:
            if line.kind == "claim" and owner in lost_at:
                assert line.at is not None
                found.append((line.at - lost_at[owner]).total_seconds())
            owner = line.executor_id
    return found


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]
