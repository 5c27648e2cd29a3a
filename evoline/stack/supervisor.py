"""Starts the stack in order, keeps it running, scales it, stops it in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from evoline.stack import system
from evoline.stack.child import Child, ProcessSpec, RestartPolicy
from evoline.stack.events import OnEvent, StackEvent
from evoline.stack.home import Home
from evoline.stack.plan import SCALED, Action
from evoline.stack.ports import PortChooser
from evoline.stack.state import StackRecord, write_state
from evoline.stack.versions import versions
from shared.errors import EvolineError, InvalidInputError, UnavailableError


class Plan(Protocol):
    """What a supervisor runs: `LocalStack`, or a few small processes in a test."""

    @property
    def home(self) -> Home: ...

    @property
    def ports(self) -> PortChooser: ...

    def describe(self, record: StackRecord) -> None:
        """Writes into the record what others need to find and use the stack."""
        ...

    def nodes(self) -> list[ProcessSpec | Action]: ...

    def executor(self, number: int) -> ProcessSpec: ...


@dataclass
class Supervisor:
    """One start of one plan. `record` is what `stack.json` says; every change is written at once."""

    plan: Plan
    record: StackRecord
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    watchers: list[OnEvent] = field(default_factory=list)
    stop_requested: asyncio.Event = field(default_factory=asyncio.Event)
    _children: dict[str, Child] = field(default_factory=dict)
    _depths: dict[str, int] = field(default_factory=dict)
    _scaling: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def home(self) -> Home:
        return self.plan.home

    async def run(self) -> None:
        """From nothing to stopped. Raises the error that made the start fail, after everything is stopped again."""
        self._begin()
        try:
            if await self._bring_up():
                self._set_status("ready")
                self.emit(StackEvent("up", seconds=self._seconds()))
                await self.stop_requested.wait()
        except EvolineError as error:
            self.record.error = str(error)
            raise
        finally:
            await self._bring_down()

    async def scale(self, count: int) -> None:
        """Starts or stops executors until `count` run; returns when the new ones are ready."""
        if not 1 <= count <= 64:
            raise InvalidInputError(f"{SCALED}={count}: from 1 to 64 can run")
        async with self._scaling:
            if self.record.status != "ready":
                raise UnavailableError(f"the stack is {self.record.status}, so it cannot be scaled now")
            numbers = sorted(int(name.rpartition("-")[2]) for name in self._children if name.startswith(f"{SCALED}-"))
            for number in [number for number in reversed(numbers) if number > count]:
                await self._remove(f"{SCALED}-{number}")
            new = [self._adopt(self.plan.executor(number)) for number in range(1, count + 1) if number not in numbers]
            try:
                await asyncio.gather(*(child.start() for child in new))
            except EvolineError:
                await asyncio.gather(*(self._remove(child.spec.name) for child in new))
                raise

    def emit(self, event: StackEvent) -> None:
        for watcher in tuple(self.watchers):
            watcher(event)

    def _begin(self) -> None:
        self.record.status, self.record.error, self.record.processes = "starting", "", []
        self.record.supervisor_pid, self.record.supervisor_mark = os.getpid(), system.started_at(os.getpid())
        self.record.started_at, self.record.versions = datetime.now(UTC).isoformat(), versions()
        self._started = time.monotonic()
        self._write()

    async def _bring_up(self) -> bool:
        """False where a stop was asked for before everything was ready."""
        nodes = self.plan.nodes()
        self.plan.describe(self.record)
        self.record.ports = self.record.ports | dict(self.plan.ports.chosen)
        self._depths = depths(nodes)
        ready = {node.name: asyncio.Event() for node in nodes}
        for node in nodes:
            if isinstance(node, ProcessSpec):
                self._adopt(node)
        starts = asyncio.create_task(self._start_all(nodes, ready))
        stop = asyncio.create_task(self._stop_asked())
        try:
            await asyncio.wait((starts, stop), return_when=asyncio.FIRST_COMPLETED)
            if not starts.done():
                return False
            starts.result()
            return True
        finally:
            await _cancel(starts, stop)

    async def _start_all(self, nodes: Sequence[ProcessSpec | Action], ready: dict[str, asyncio.Event]) -> None:
        await asyncio.gather(*(self._start(node, ready) for node in nodes))

    async def _stop_asked(self) -> None:
        await self.stop_requested.wait()

    async def _start(self, node: ProcessSpec | Action, ready: dict[str, asyncio.Event]) -> None:
        for name in node.after:
            await ready[name].wait()
        if isinstance(node, Action):
            began = time.monotonic()
            text = await node.run()
            self.emit(StackEvent("done", node.name, text, time.monotonic() - began))
        else:
            await self._children[node.name].start()
        ready[node.name].set()

    def _adopt(self, spec: ProcessSpec) -> Child:
        child = Child(spec, self.home.log(spec.name), self.home.data / "work", self.emit, self._write, self.policy)
        self._children[spec.name] = child
        self.record.processes.append(child.record)
        self.record.ports = self.record.ports | dict(self.plan.ports.chosen)
        return child

    async def _remove(self, name: str) -> None:
        child = self._children.pop(name)
        await child.stop()
        self.record.processes = [record for record in self.record.processes if record.name != name]
        self.emit(StackEvent("stopped", name))
        self._write()

    async def _bring_down(self) -> None:
        self._set_status("stopping")
        began = time.monotonic()
        for level in sorted({self._depths.get(name, 99) for name in self._children}, reverse=True):
            names = [name for name in self._children if self._depths.get(name, 99) == level]
            await asyncio.gather(*(self._children[name].stop() for name in names))
        self.record.urls = {}
        self.record.supervisor_pid, self.record.supervisor_mark = 0, ""
        self._set_status("failed" if self.record.error else "stopped")
        if self.record.error:
            self.emit(StackEvent("failed", text=self.record.error))
        else:
            self.emit(StackEvent("down", seconds=time.monotonic() - began))

    def _set_status(self, status: str) -> None:
        self.record.status = status  # type: ignore[assignment]  # pydantic checks it on assignment
        self._write()

    def _write(self) -> None:
        write_state(self.home.state_file, self.record)

    def _seconds(self) -> float:
        return time.monotonic() - self._started


def depths(nodes: Sequence[ProcessSpec | Action]) -> dict[str, int]:
    """How many others must be ready, one after the other, before each; stopping goes from deep to shallow."""
    by_name = {node.name: node for node in nodes}

    def depth(name: str) -> int:
        return max((depth(other) + 1 for other in by_name[name].after), default=0)

    return {name: depth(name) for name in by_name}


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, EvolineError):
            await task
