"""One supervised process: started, waited for, restarted when it dies, stopped for certain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from evoline.stack import system
from evoline.stack.events import OnEvent, StackEvent
from evoline.stack.logs import open_log, tail
from evoline.stack.readiness import Probe
from evoline.stack.state import ProcessRecord
from shared.ending import end_tasks
from shared.errors import UnavailableError

LOG_LINES_IN_ERROR = 15
MISCONFIGURED = 2
"""Exit code of a process that cannot work as it is set up (`shared.service`, and argparse): trying again is no use."""


class ChildFailedError(UnavailableError):
    """A process of the stack cannot be started; the message has the end of its log."""

    code = "child_failed"


@dataclass(frozen=True)
class ProcessSpec:
    """`after` names the processes and steps that must be ready before."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: Probe
    after: tuple[str, ...] = ()
    port: int = 0
    url: str = ""
    start_seconds: float = 60.0
    stop_seconds: float = 10.0


@dataclass(frozen=True)
class RestartPolicy:
    """A process that dies before it ever was ready is tried `start_attempts` times; one that was ready, for ever."""

    start_attempts: int = 3
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 10.0
    stable_seconds: float = 30.0
    """A process that ran this long starts with the first pause again."""
    probe_pause_seconds: float = 0.05


@dataclass
class Child:
    spec: ProcessSpec
    log: Path
    directory: Path
    on_event: OnEvent
    on_change: Callable[[], None]
    policy: RestartPolicy = RestartPolicy()
    record: ProcessRecord = field(init=False)

    def __post_init__(self) -> None:
        self.record = ProcessRecord(name=self.spec.name, port=self.spec.port, url=self.spec.url, log=str(self.log))
        self._process: Process | None = None
        self._stopping = False
        self._log_start = 0
        self._was_ready = False
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Returns when the process is ready. Raises ChildFailedError where it never gets so."""
        self._task = asyncio.create_task(self._supervise(), name=f"supervise {self.spec.name}")
        await asyncio.shield(self._ready)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL to the whole group after `stop_seconds`; harmless when nothing runs."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self.on_event(StackEvent("stopping", self.spec.name))
            await self._end(self._process)
        if self._task is not None:
            await end_tasks(self._task)
        if not self._ready.done():
            self._ready.cancel()
        self._set(status="stopped", pid=0, start_mark="")

    async def _supervise(self) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        while not self._stopping:
            started = loop.time()
            process = await self._spawn()
            missing = await self._until_ready(process)
            if not missing:
                self._announce_ready(loop.time() - started)
                await process.wait()
            if self._stopping:
                return
            # What it may have left behind in its group holds its port.
            kill_group(process.pid)
            failures = 1 if loop.time() - started > self.policy.stable_seconds else failures + 1
            hopeless = failures >= self.policy.start_attempts or process.returncode == MISCONFIGURED
            if not self._was_ready and hopeless:
                self._ready.set_exception(ChildFailedError(self._failure(process, missing, failures)))
                return
            await self._pause_before_restart(process, failures)

    async def _spawn(self) -> Process:
        with open_log(self.log) as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                env=dict(self.spec.environment),
                cwd=self.directory,
                process_group=0,
                preexec_fn=system.die_with_parent(),
            )
        pid = self._process.pid
        self._set(pid=pid, start_mark=system.started_at(pid), status="starting", started_at=datetime.now(UTC).isoformat())
        if not self.record.restarts:
            self.on_event(StackEvent("starting", self.spec.name))
        return self._process

    async def _until_ready(self, process: Process) -> str:
        """Empty once ready, else what was missing when the process died or the time was up."""
        deadline = asyncio.get_running_loop().time() + self.spec.start_seconds
        missing = "it ended at once"
        while process.returncode is None:
            missing = await self.spec.ready() or self._stranger(process)
            if not missing and process.returncode is None:
                return ""
            if asyncio.get_running_loop().time() > deadline:
                await self._end(process)
                return f"not ready within {self.spec.start_seconds:g} s: {missing}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.wait()), self.policy.probe_pause_seconds)
        return missing or "it ended at once"

    def _stranger(self, process: Process) -> str:
        """Empty unless it is known that somebody else answers on its port, as another stack that took it first."""
        if not self.spec.port or system.listens(process.pid, self.spec.port) is not False:
            return ""
        return f"port {self.spec.port} is answered by another process than the one that was started for it ({process.pid})"

    def _announce_ready(self, seconds: float) -> None:
        self._was_ready = True
        self._set(status="ready")
        self.on_event(StackEvent("ready", self.spec.name, f"on {self.spec.port}" if self.spec.port else "", seconds))
        if not self._ready.done():
            self._ready.set_result(None)

    async def _pause_before_restart(self, process: Process, failures: int) -> None:
        policy = self.policy
        pause = min(policy.longest_pause_seconds, policy.first_pause_seconds * 2 ** (failures - 1))
        ended = describe_end(process.returncode)
        self.record.restarts += 1
        self._set(status="restarting", pid=0, start_mark="")
        self.on_event(StackEvent("restarting", self.spec.name, f"{ended}; again in {pause:.1f} s", pause))
        await asyncio.sleep(pause)

    def _failure(self, process: Process, missing: str, failures: int) -> str:
        lines = tail(self.log, LOG_LINES_IN_ERROR, start=self._log_start)
        why = missing if missing.startswith("not ready within") else describe_end(process.returncode)
        shown = "\n".join(f"    {line[:400]}" for line in lines) or "    (it wrote nothing)"
        return f"{self.spec.name} does not start ({why}, {failures} attempts). The end of {self.log}:\n{shown}"

    async def _end(self, process: Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), self.spec.stop_seconds)
        except TimeoutError:
            self.on_event(StackEvent("stopping", self.spec.name, f"killed: it did not end within {self.spec.stop_seconds:g} s"))
        kill_group(process.pid)
        await process.wait()

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self.record, name, value)
        self.on_change()


def kill_group(pid: int) -> None:
    """Of a process that leads a group of its own, also where it has ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def describe_end(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "it still runs"
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
