"""Start, scale and stop the stack from outside: what `evoline up` and `evoline down` do."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from evoline.stack import system
from evoline.stack.control import ControlRequest, ask_supervisor
from evoline.stack.daemon import AlreadyUpError, end_leftovers, is_locked
from evoline.stack.events import OnEvent, StackEvent, parse_event
from evoline.stack.home import Home
from evoline.stack.logs import open_log, tail
from evoline.stack.plan import StackOptions
from evoline.stack.state import StackRecord, read_state, write_state
from shared.errors import UnavailableError

SUPERVISOR_LOG = "supervisor"
STOP_SECONDS = 45.0


class StackFailedError(UnavailableError):
    """The stack did not come up; everything that was started is stopped again."""

    code = "stack_failed"


async def bring_up(home: Home, options: StackOptions, on_event: OnEvent) -> bool:
    """Returns once the stack is ready; False where it was up before. Cancelled, it stops what it started.

    Raises StackFailedError with the reason and the end of the failing process's log."""
    home.create()
    if is_locked(home.lock_file):
        await _wait_until_up(home, on_event)
        return False
    try:
        await _launch(home, options, on_event)
    except AlreadyUpError:  # somebody else was faster
        await _wait_until_up(home, on_event)
        return False
    return True


async def scale(home: Home, executors: int, on_event: OnEvent) -> None:
    """Raises UnavailableError where no stack runs, or the new executors do not get ready."""
    async for event in ask_supervisor(home.socket, ControlRequest(command="scale", executors=executors)):
        on_event(event)
        if event.kind == "failed" and not event.name:
            raise UnavailableError(event.text)


async def bring_down(home: Home, on_event: OnEvent) -> bool:
    """Returns once nothing of the stack runs any more; False where nothing ran."""
    if not home.state_file.exists() and not is_locked(home.lock_file):
        return False
    record = read_state(home.state_file)
    if not is_locked(home.lock_file):
        return _forget_dead_stack(home, record, on_event)
    try:
        async for event in ask_supervisor(home.socket, ControlRequest(command="stop")):
            on_event(event)
    except UnavailableError:
        # A supervisor that is up but deaf: signals reach it all the same.
        system.end_process(record.supervisor_pid, record.supervisor_mark, signal.SIGTERM)
    if not await _released(home, STOP_SECONDS):
        on_event(StackEvent("stopping", SUPERVISOR_LOG, f"killed: it did not end within {STOP_SECONDS:g} s"))
        system.end_process(record.supervisor_pid, record.supervisor_mark, signal.SIGKILL)
        await _released(home, 5.0)
        _forget_dead_stack(home, read_state(home.state_file), on_event)
    return True


def delete_data(home: Home) -> None:
    """Messages, documents and workspaces; keys, logs and remembered ports stay. The stack must be down."""
    if is_locked(home.lock_file):
        raise UnavailableError("the stack runs; stop it before its data are deleted: evoline down --data")
    if home.data.exists():
        shutil.rmtree(home.data)


def _forget_dead_stack(home: Home, record: StackRecord, on_event: OnEvent) -> bool:
    names = end_leftovers(record)
    for name in names:
        on_event(StackEvent("stopped", name, "left over from a supervisor that was killed"))
    if record.status not in {"stopped", "failed"}:
        record.status, record.urls = "stopped", {}
        for child in record.processes:
            child.pid, child.start_mark, child.status = 0, "", "stopped"
        write_state(home.state_file, record)
    return bool(names)


async def _released(home: Home, seconds: float) -> bool:
    deadline = asyncio.get_running_loop().time() + seconds
    while is_locked(home.lock_file):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def _wait_until_up(home: Home, on_event: OnEvent) -> None:
    async for event in _watch(home):
        on_event(event)
        if not event.name and event.kind in {"failed", "down"}:
            raise StackFailedError(event.text or "the stack was stopped while it started")


async def _watch(home: Home) -> AsyncIterator[StackEvent]:
    """A supervisor holds its lock a moment before it listens, so the first tries may find nobody."""
    for attempt in range(50):
        try:
            async for event in ask_supervisor(home.socket, ControlRequest(command="watch")):
                yield event
            return
        except UnavailableError:
            if attempt == 49 or not is_locked(home.lock_file):
                raise
            await asyncio.sleep(0.1)


async def _launch(home: Home, options: StackOptions, on_event: OnEvent) -> None:
    async with _supervisor(home, options) as (process, events):
        try:
            await _follow_start(home, process, events, on_event)
        except asyncio.CancelledError:
            process.terminate()
            await asyncio.shield(asyncio.to_thread(process.wait))
            raise


@asynccontextmanager
async def _supervisor(home: Home, options: StackOptions) -> AsyncIterator[tuple[subprocess.Popen[bytes], asyncio.StreamReader]]:
    """The detached supervisor and the pipe on which it tells about the start."""
    receiving, sending = os.pipe()
    command = [sys.executable, "-m", "evoline.stack", str(home.root), options.model_dump_json(), str(sending)]
    with open_log(home.log(SUPERVISOR_LOG)) as log:
        process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own arguments; it must outlive this event loop
            command, pass_fds=[sending], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    os.close(sending)
    reader = asyncio.StreamReader()
    pipe = os.fdopen(receiving, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        yield process, reader
    finally:
        transport.close()


async def _follow_start(home: Home, process: subprocess.Popen[bytes], events: asyncio.StreamReader, on_event: OnEvent) -> None:
    while line := await events.readline():
        event = parse_event(line)
        if event is None:
            continue
        if event.kind == "failed":
            await asyncio.to_thread(process.wait)
            raise (AlreadyUpError if event.name == AlreadyUpError.code else StackFailedError)(event.text)
        on_event(event)
        if event.kind == "up":
            return
        if event.kind == "down":
            raise StackFailedError("the stack was stopped while it started")
    code = await asyncio.to_thread(process.wait)
    shown = "\n".join(f"    {line}" for line in tail(home.log(SUPERVISOR_LOG), 15))
    raise StackFailedError(f"the supervisor ended with exit code {code}. The end of {home.log(SUPERVISOR_LOG)}:\n{shown}")
