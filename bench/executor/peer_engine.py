"""A peer in a process of its own environment, measured over `peers/protocol.py`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench.executor.evoline_stack import stopped
from bench.executor.loads import EngineFailedError, Load, Sample
from bench.executor.peer_servers import Server, postgres, sqlite_file, temporal

START_SECONDS, MEASURE_SECONDS = 60.0, 120.0
MAX_ANSWER_BYTES = 4_000_000
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Peer:
    name: str
    module: str
    server: Server


PEERS = (
    Peer("DBOS, PostgreSQL", "bench.executor.peers.on_dbos", postgres),
    Peer("LangGraph, SQLite saver", "bench.executor.peers.on_langgraph", sqlite_file),
    Peer("Temporal, development server", "bench.executor.peers.on_temporal", temporal),
)


@dataclass(frozen=True)
class PeerEngine:
    name: str
    process: Process
    log: IO[bytes]
    versions: dict[str, str]
    slow: bool

    async def measure(self, load: Load) -> Sample:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"steps": load.steps, "runs": load.runs, "at_once": load.at_once}).encode() + b"\n")
            await self.process.stdin.drain()
        except OSError as error:
            raise EngineFailedError(f"its process is gone: {error}") from error
        answer = await _answer(self.process, self.log, MEASURE_SECONDS)
        return Sample(answer["seconds"], answer["each"])


@contextlib.asynccontextmanager
async def started(peer: Peer, environment: Path) -> AsyncIterator[PeerEngine]:
    """Raises `EngineFailedError` where it, or the server that it needs, cannot be started."""
    python = environment / "bin" / "python"
    if not python.exists():
        raise EngineFailedError(f"no environment in {environment} (`make bench-executor` prepares it)")
    async with contextlib.AsyncExitStack() as stack:
        log = stack.enter_context(_log())
        try:
            address = stack.enter_context(peer.server(environment))
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise EngineFailedError(f"its server: {error}") from error
        command = [str(python.absolute()), "-m", peer.module, address]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=log, cwd=ROOT, env=variables, limit=MAX_ANSWER_BYTES
        )
        stack.push_async_callback(stopped, process)
        ready = await _answer(process, log, START_SECONDS)
        yield PeerEngine(peer.name, process, log, ready["ready"], slow=peer.server is temporal)


async def _answer(process: Process, log: IO[bytes], seconds: float) -> dict[str, Any]:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            line = await process.stdout.readline()
    except TimeoutError as error:
        raise EngineFailedError(f"no answer within {seconds:g} s") from error
    if not line:
        raise EngineFailedError(_last_line(log))
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise EngineFailedError(str(answer["error"]))
    return answer


@contextlib.contextmanager
def _log() -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        yield file


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    said = log.read().decode(errors="replace").strip().splitlines()
    return said[-1] if said else "its process ended without a word"
