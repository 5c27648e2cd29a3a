"""The supervisor with real, small child processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evoline.stack import system
from evoline.stack.child import ChildFailedError, RestartPolicy
from evoline.stack.control import ControlRequest, ControlServer, ask_supervisor
from evoline.stack.daemon import AlreadyUpError, is_locked, locked
from evoline.stack.events import StackEvent
from evoline.stack.home import Home
from evoline.stack.launch import bring_down, scale
from evoline.stack.ports import PortChooser
from evoline.stack.state import StackRecord, read_state
from evoline.stack.status import look
from evoline.stack.supervisor import Supervisor
from shared.errors import UnavailableError
from tests.eventually import eventually
from tests.integration.tiny_stack import TinyPlan

QUICK = RestartPolicy(start_attempts=2, first_pause_seconds=0.02, longest_pause_seconds=0.1)
SCRIPT = Path(__file__).with_name("tiny_stack.py")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def make(home: Home, what: str = "fine", events: list[StackEvent] | None = None) -> Supervisor:
    watchers = [events.append] if events is not None else []
    return Supervisor(TinyPlan(home, PortChooser({}), what), StackRecord(), QUICK, watchers)


@asynccontextmanager
async def up(supervisor: Supervisor) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(supervisor.run())
    try:
        await eventually(lambda: supervisor.record.status == "ready" or task.done())
        yield task
    finally:
        supervisor.stop_requested.set()
        await asyncio.gather(task, return_exceptions=True)


def trace(home: Home) -> list[str]:
    return (home.root / "trace").read_text().splitlines()


def status_of(record: StackRecord, name: str) -> str:
    found = record.process(name)
    return found.status if found else ""


def pid_of(record: StackRecord, name: str) -> int:
    found = record.process(name)
    assert found is not None
    return found.pid


async def test_a_process_starts_only_after_what_it_needs_and_stops_before_it(home: Home) -> None:
    async with up(make(home)):
        assert trace(home)[0] == "started store"
        assert sorted(trace(home)[1:]) == ["started executor-1", "started worker"]
    assert trace(home)[-1] == "stopped store"
    assert read_state(home.state_file).status == "stopped"


async def test_the_state_file_names_the_running_processes_and_none_after_the_stop(home: Home) -> None:
    async with up(make(home)):
        view = await look(home)
        assert view.status == "ready"
        assert {child.name: child.ready for child in view.processes} == {"store": True, "worker": True, "executor-1": True}
        assert all(child.memory_bytes > 1_000_000 and child.pid for child in view.processes)
        pids = [child.pid for child in view.processes]
    view = await look(home)
    assert [child.pid for child in view.processes] == [0, 0, 0]
    assert not any(system.started_at(pid) for pid in pids)


async def test_a_process_that_is_killed_is_started_again_and_counted(home: Home) -> None:
    supervisor = make(home)
    async with up(supervisor):
        first = pid_of(supervisor.record, "worker")
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: pid_of(supervisor.record, "worker") not in (0, first))
        await eventually(lambda: status_of(supervisor.record, "worker") == "ready")
        record = read_state(home.state_file).process("worker")
        assert record is not None and record.restarts == 1


async def test_what_a_killed_process_left_behind_does_not_keep_its_port(home: Home) -> None:
    supervisor = make(home, "litter")
    async with up(supervisor):
        first = pid_of(supervisor.record, "worker")
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: pid_of(supervisor.record, "worker") not in (0, first))
        await eventually(lambda: status_of(supervisor.record, "worker") == "ready")
        found = supervisor.record.process("worker")
        assert found is not None and found.restarts == 1


async def test_an_answer_by_another_process_than_the_one_that_was_started_is_no_readiness(home: Home) -> None:
    """As that of another stack's, which took the port between the choice of it and the start."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nok")
        writer.close()

    ports = PortChooser({})
    stranger = await asyncio.start_server(answer, "127.0.0.1", ports.port("worker"))
    plan = TinyPlan(home, ports, "mute", start_seconds=1.0)
    supervisor = Supervisor(plan, StackRecord(), RestartPolicy(start_attempts=1))
    try:
        with pytest.raises(ChildFailedError, match=r"is answered by another process than the one that was started for it"):
            await supervisor.run()
    finally:
        stranger.close()
        await stranger.wait_closed()
    assert "ready" not in {status_of(supervisor.record, "worker")}


async def test_a_process_that_never_starts_fails_the_start_with_its_last_words_and_stops_the_others(home: Home) -> None:
    events: list[StackEvent] = []
    supervisor = make(home, "broken", events)
    with pytest.raises(
        ChildFailedError, match=r"worker does not start \(it ended with exit code 7, 2 attempts\)(.|\n)*cellar is full"
    ):
        await supervisor.run()
    assert trace(home)[-1] == "stopped store"
    record = read_state(home.state_file)
    assert record.status == "failed" and "cellar" in record.error
    assert events[-1].kind == "failed"


async def test_a_process_that_ignores_the_polite_signal_is_killed(home: Home) -> None:
    supervisor = make(home, "deaf")
    async with up(supervisor):
        pid = pid_of(supervisor.record, "worker")
    assert system.started_at(pid) == ""
    assert "stopped worker" not in trace(home)


async def test_a_stop_asked_for_during_the_start_stops_what_had_started(home: Home) -> None:
    supervisor = make(home, "slow")
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: status_of(supervisor.record, "store") == "ready")
    supervisor.stop_requested.set()
    await asyncio.wait_for(task, 5)
    assert trace(home) == ["started store", "stopped store"]
    assert read_state(home.state_file).status == "stopped"


async def test_executors_scale_up_and_down_through_the_socket_while_the_stack_runs(home: Home) -> None:
    supervisor = make(home)
    control = ControlServer(supervisor, home.socket)
    await control.start()
    async with up(supervisor):
        await scale(home, 3, lambda event: None)
        names = {child.name for child in (await look(home)).processes if child.ready}
        assert names >= {"executor-1", "executor-2", "executor-3"}
        await scale(home, 1, lambda event: None)
        assert [child.name for child in (await look(home)).processes if child.name.startswith("executor")] == ["executor-1"]
        with pytest.raises(UnavailableError, match="from 1 to 64"):
            await scale(home, 0, lambda event: None)
    await control.close()


async def test_an_unknown_request_on_the_control_socket_is_refused_and_changes_nothing(home: Home) -> None:
    supervisor = make(home)
    control = ControlServer(supervisor, home.socket)
    await control.start()
    async with up(supervisor):
        reader, writer = await asyncio.open_unix_connection(home.socket)
        writer.write(b'{"command": "dance"}\n')
        assert b"no such request" in await reader.readline()
        writer.close()
        assert supervisor.record.status == "ready"
    await control.close()


@asynccontextmanager
async def daemon(home: Home, what: str = "fine") -> AsyncIterator[subprocess.Popen[bytes]]:
    """The tiny stack in a process of its own, ready."""
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT), str(home.root), what]
    process = await asyncio.to_thread(subprocess.Popen, command, env=environment, stdout=subprocess.DEVNULL)
    try:
        await eventually(lambda: read_state(home.state_file).status == "ready", 20)
        yield process
    finally:
        process.kill()
        process.wait()


async def test_no_child_survives_a_supervisor_that_is_killed(home: Home) -> None:
    async with daemon(home) as process:
        pids = [child.pid for child in read_state(home.state_file).processes]
        assert all(system.started_at(pid) for pid in pids)
        process.kill()
        process.wait()
        await eventually(lambda: not any(system.started_at(pid) for pid in pids))
        assert (await look(home)).status == "dead"
        assert not is_locked(home.lock_file)
        assert not await bring_down(home, lambda event: None)
        assert (await look(home)).status == "stopped"


async def test_a_second_supervisor_of_the_same_home_is_refused_and_the_first_goes_on(home: Home) -> None:
    async with daemon(home) as process:
        environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[2])}
        command = [sys.executable, str(SCRIPT), str(home.root), "fine"]
        second = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, check=False)
        assert b"another supervisor runs the stack" in second.stderr
        assert (await look(home)).status == "ready"
        assert process.poll() is None
        with pytest.raises(AlreadyUpError), locked(home.lock_file):
            pass


async def test_down_stops_the_supervisor_and_everything_it_runs(home: Home) -> None:
    async with daemon(home) as process:
        pids = [child.pid for child in read_state(home.state_file).processes]
        events: list[StackEvent] = []
        assert await bring_down(home, events.append)
        assert events[-1].kind == "down"
        assert process.wait(5) == 0
        assert not any(system.started_at(pid) for pid in pids)
        assert not await bring_down(home, events.append)


async def test_interrupting_the_supervisor_stops_everything_in_order(home: Home) -> None:
    async with daemon(home) as process:
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 10) == 0
    assert trace(home)[-1] == "stopped store"
    assert sorted(trace(home)[3:5]) == ["stopped executor-1", "stopped worker"]


async def test_watching_a_stack_that_is_up_answers_at_once(home: Home) -> None:
    async with daemon(home):
        kinds = [event.kind async for event in ask_supervisor(home.socket, ControlRequest(command="watch"))]
        assert kinds == ["up"]
