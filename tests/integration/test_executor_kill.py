"""kill -9 of an executor in the middle of its runs, with three executors of processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared.attestation import public_pem
from shared.events.runs import ExecuteRun
from shared.messaging.fleet import Fleet
from shared.storage import MongoStore, connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.executor import Notary

pytestmark = pytest.mark.usefixtures("empty_streams")

RUNS, STEPS, PLACES = 18, 4, 3
CALL_SECONDS = 0.4
DOCUMENT: dict[str, Any] = {
    "name": "patient",
    "inputs": {"word": "string"},
    "steps": [{"name": f"s{n}", "type": "claude", "prompt": "{{ word }}-" + str(n)} for n in range(STEPS)],
    "outputs": {"last": f"{{{{ steps.s{STEPS - 1}.text }}}}"},
}


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


def calls_in(file: Path) -> list[tuple[str, str]]:
    """(executor, prompt) of every call made so far."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def prompt_key(prompt: str) -> str:
    """Prompts carry their data delimited; the run's word and the step's number stay in it."""
    return "".join(character for character in prompt if character.isalnum() or character in "-_")


@pytest.fixture
def store(mongo_url: str) -> Iterator[MongoStore]:
    opened = connect(SecretStr(mongo_url))
    yield opened
    opened.close()


@pytest.mark.timeout(120)
async def test_a_killed_executor_loses_no_run_and_no_finished_step_is_executed_again(
    nats_url: str, mongo_url: str, store: MongoStore, open_bus: OpenBus, tmp_path: Path
) -> None:
    notary, calls = Notary(), tmp_path / "calls.log"
    (tmp_path / "guardrail.pub").write_bytes(public_pem(notary.key.public_key()))
    await store.drop_database("evoline_executor")
    environment = {
        "EVOLINE_NATS_URL": nats_url,
        "EVOLINE_MONGO_URL": mongo_url,
        "EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE": str(tmp_path / "guardrail.pub"),
        "EVOLINE_EXECUTOR_CONCURRENCY": str(PLACES),
        "EVOLINE_EXECUTOR_WORKSPACE_DIR": str(tmp_path / "workspaces"),
        "EVOLINE_TEST_CALLS_FILE": str(calls),
        "EVOLINE_TEST_CALL_SECONDS": str(CALL_SECONDS),
    }
    trial: dict[str, Any] = {"document": DOCUMENT, "scope": notary.grant(), "purpose": "trial"}
    orders = [ExecuteRun(run_id=f"kill-{n}", inputs={"word": f"w{n}w"}, **trial) for n in range(RUNS)]
    journal = store.database("evoline_executor").collection("journal")
    async with contextlib.AsyncExitStack() as stack:
        started = [executor_process(f"x{n}", environment, tmp_path) for n in range(3)]
        executors = await asyncio.gather(*(stack.enter_async_context(each) for each in started))
        running = asyncio.create_task(Fleet(await open_bus("cli")).run_all(orders, max_in_flight=RUNS, deadline_seconds=90))
        await eventually(lambda: sum(name == "x0" for name, _ in calls_in(calls)) >= 2 * PLACES, timeout_seconds=30)
        executors[0].kill()
        await executors[0].wait()
        killed_at = datetime.now(UTC)
        finished_then = {(line["run_id"], line["path"]) for line in await journal.find({"kind": "step"})}
        calls_then = len(calls_in(calls))
        runs = await running
    assert sorted(runs) == sorted(order.run_id for order in orders), "a run was lost"
    assert {run.status for run in runs.values()} == {"succeeded"}
    resumed = [run for run in runs.values() if run.resumed]
    assert 1 <= len(resumed) <= PLACES
    again = {prompt_key(prompt) for _, prompt in calls_in(calls)[calls_then:]}
    finished_keys = {f"w{run_id.removeprefix('kill-')}w-{path[1:]}" for run_id, path in finished_then}
    assert not [key for key in finished_keys if any(key in prompt for prompt in again)], "a finished step was executed again"
    counts = Counter(prompt_key(prompt) for _, prompt in calls_in(calls))
    assert len(counts) == RUNS * STEPS
    assert sum(counts.values()) <= RUNS * STEPS + PLACES, "more than one call repeated for a lost run"
    lines = await journal.find({"kind": "step"})
    assert len({(line["run_id"], line["path"]) for line in lines}) == len(lines) == RUNS * STEPS
    last = max(datetime.fromisoformat(run.finished_at) for run in resumed)
    assert (last - killed_at).total_seconds() < 12 + STEPS * CALL_SECONDS
