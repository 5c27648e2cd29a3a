"""Guardrail and executors as in production: processes of their own on real servers, with real keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.executor.evoline_stack import stopped
from shared.attestation import create_key_pair
from shared.messaging.bus import Bus
from shared.messaging.provisioning import provision
from shared.settings import SharedSettings
from tests.eventually import eventually
from tests.fakes.people import written_registry
from tests.servers import mongo_server, nats_server

START_SECONDS = 120.0
PIPELINES = Path(__file__).parents[2] / "pipelines"


@dataclass
class GuardedStack:
    nats_url: str
    mongo_url: str
    folder: Path
    running: dict[str, Process] = field(default_factory=dict)

    async def start(self, name: str, service: str, more: Mapping[str, str] | None = None) -> None:
        """Returns when it is ready. Raises RuntimeError with its log where it does not get ready."""
        log = self.folder / f"{name}-{len(self.running)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"services.{service}", stdout=output, stderr=output, env=self._environment(more or {})
            )
        self.running[name] = process
        await eventually(lambda: "service started" in _text(log) or process.returncode is not None, START_SECONDS)
        if process.returncode is not None:
            raise RuntimeError(f"{name} did not start:\n{_text(log)[-3000:]}")

    def signal(self, name: str, number: signal.Signals) -> None:
        self.running[name].send_signal(number)

    async def end(self, name: str) -> None:
        await stopped(self.running.pop(name))

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        own = {
            "EVOLINE_NATS_URL": self.nats_url,
            "EVOLINE_MONGO_URL": self.mongo_url,
            "EVOLINE_PIPELINES_DIR": str(PIPELINES),
            "EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE": str(self.folder / "keys" / "guardrail.pub"),
            "EVOLINE_IDENTITIES_FILE": str(self.folder / "keys" / "identities.yaml"),
            "EVOLINE_GUARDRAIL_PRIVATE_KEY_FILE": str(self.folder / "keys" / "guardrail.key"),
            "EVOLINE_EXECUTOR_WORKSPACE_DIR": str(self.folder / "workspaces"),
            "EVOLINE_LOG_LEVEL": "info",
        }
        return {**os.environ, **own, **more}


@contextlib.asynccontextmanager
async def guarded_stack() -> AsyncIterator[tuple[GuardedStack, Bus]]:
    """The servers, keys and a client's bus; processes are started by name."""
    with tempfile.TemporaryDirectory(prefix="evoline-bench-") as name, nats_server() as nats_url, mongo_server() as mongo_url:
        folder = Path(name)
        create_key_pair(folder / "keys")
        written_registry(folder / "keys")
        await provision(nats_url)
        stack = GuardedStack(nats_url, mongo_url, folder)
        bus = await Bus.connect(SharedSettings(nats_url=nats_url), service="bench")
        try:
            yield stack, bus
        finally:
            await bus.close()
            for process in stack.running.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
            await asyncio.gather(*(stopped(process) for process in stack.running.values()))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
