"""The supervisor's process: takes the lock, ends what a killed one left, runs the plan, answers on the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from evoline.stack import system
from evoline.stack.control import ControlServer
from evoline.stack.events import OnEvent
from evoline.stack.home import Home
from evoline.stack.ports import PortChooser
from evoline.stack.state import StackRecord, read_state
from evoline.stack.supervisor import Plan, Supervisor
from shared.errors import ConfigurationError

MakePlan = Callable[[Home, PortChooser], Plan]


class AlreadyUpError(ConfigurationError):
    """Another supervisor holds this stack."""

    code = "already_up"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held by one process at a time; the system frees it however that process ends. Raises AlreadyUpError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyUpError(f"another supervisor runs the stack of {path.parent}") from error
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    try:
        with locked(path):
            return False
    except (AlreadyUpError, FileNotFoundError):
        return path.exists()


def end_leftovers(record: StackRecord) -> list[str]:
    """Kills what still runs of a stack whose supervisor is dead; on Linux nothing does. Returns the names."""
    found = [child for child in record.processes if system.is_running(child.pid, child.start_mark)]
    for child in found:
        system.end_process(child.pid, child.start_mark, signal.SIGKILL)
    return [child.name for child in found]


async def supervise(home: Home, make_plan: MakePlan, wanted_ports: dict[str, int], on_event: OnEvent) -> None:
    """Until a signal or the control socket asks for the end. Raises AlreadyUpError, and what made a start fail."""
    home.create()
    with locked(home.lock_file):
        previous = read_state(home.state_file)
        end_leftovers(previous)
        ports = PortChooser(remembered=previous.ports, wanted=wanted_ports)
        plan = make_plan(home, ports)
        record = StackRecord(ports=previous.ports)
        supervisor = Supervisor(plan, record, watchers=[on_event])
        control = ControlServer(supervisor, home.socket)
        await control.start()
        _stop_on_signals(supervisor)
        try:
            await supervisor.run()
        finally:
            await control.close()


def _stop_on_signals(supervisor: Supervisor) -> None:
    """The first SIGINT or SIGTERM asks for an orderly stop; the second ends this process, and with it every child."""
    loop = asyncio.get_running_loop()

    def request() -> None:
        if supervisor.stop_requested.is_set():
            os._exit(130)
        supervisor.stop_requested.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, request)
