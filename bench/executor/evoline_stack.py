"""Evoline as in production: broker with every write synced, store with every commit synced, executors in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from shared.attestation import public_pem
from shared.messaging.provisioning import provision
from shared.storage import MongoStore, connect
from tests.eventually import eventually
from tests.fakes.executor import Notary
from tests.servers import mongo_server, nats_server

START_SECONDS, STOP_SECONDS = 40.0, 15.0


@dataclass(frozen=True)
class ExecutorProcess:
    process: Process

    @property
    def cpu_seconds(self) -> float:
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_memory(self) -> int:
        """Bytes resident at most, since it started."""
        line = next(line for line in self._read("status").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def _read(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text(encoding="ascii", errors="replace")


@dataclass(frozen=True)
class Stack:
    nats_url: str
    mongo_url: str
    folder: Path
    store: MongoStore

    @contextlib.asynccontextmanager
    async def executor(
        self, slots: int, more: Mapping[str, str] | None = None, module: str = "services.executor"
    ) -> AsyncIterator[ExecutorProcess]:
        """Ready when entered. Raises RuntimeError with its log where it does not get ready."""
        variables = {
            "EVOLINE_NATS_URL": self.nats_url,
            "EVOLINE_MONGO_URL": self.mongo_url,
            "EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE": str(self.folder / "guardrail.pub"),
            "EVOLINE_EXECUTOR_CONCURRENCY": str(slots),
            "EVOLINE_EXECUTOR_WORKSPACE_DIR": str(self.folder / "workspaces"),
            "EVOLINE_LOG_LEVEL": "info",
            **(more or {}),
        }
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="executor-", suffix=".log") as output:
            log = Path(output.name)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, stdout=output, stderr=output, env={**os.environ, **variables}
            )
            try:
                await eventually(lambda: _is_started(log) or process.returncode is not None, START_SECONDS)
                if process.returncode is not None:
                    raise RuntimeError(f"the executor did not start:\n{_text(log)[-3000:]}")
                yield ExecutorProcess(process)
            finally:
                await stopped(process)


def _is_started(log: Path) -> bool:
    return "service started" in _text(log)


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


async def stopped(process: Process) -> None:
    """Asks it to end, and ends it where it does not."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def evoline_stack(*documents: Mapping[str, Any]) -> AsyncIterator[Stack]:
    """The servers, with these pipelines attested and deployed."""
    notary = Notary()
    with tempfile.TemporaryDirectory(prefix="evoline-bench-") as name, nats_server() as nats_url, mongo_server() as mongo_url:
        folder = Path(name)
        (folder / "guardrail.pub").write_bytes(public_pem(notary.key.public_key()))
        await provision(nats_url)
        store = connect(SecretStr(mongo_url))
        for document in documents:
            await notary.deploy(store.database("evoline_guardrail"), document)
        try:
            yield Stack(nats_url, mongo_url, folder, store)
        finally:
            store.close()
