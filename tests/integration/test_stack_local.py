"""`evoline up` and `down` as people type them: real servers, real services, no model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evoline.stack import system
from evoline.stack.home import Home
from evoline.stack.state import read_state
from shared.errors import ConfigurationError
from shared.messaging.connection import open_client
from shared.settings import SharedSettings
from tests.eventually import eventually

pytestmark = [pytest.mark.one_at_a_time("usual ports"), pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
START_SECONDS = 150


class Machine:
    """A home of its own, and the command line that works on it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home")
        hidden = {"EVOLINE_NATS_URL", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"}
        self.environment = {name: value for name, value in os.environ.items() if name not in hidden}
        self.environment |= {"EVOLINE_HOME": str(self.home.root), "EVOLINE_PIPELINES_DIR": str(ROOT / "pipelines")}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "evoline.cli", *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=START_SECONDS)
        return process.returncode, out, err

    def json(self, *arguments: str) -> Any:
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    def living(self) -> list[str]:
        """Processes of the stack's record that still run."""
        record = read_state(self.home.state_file)
        found = [child.name for child in record.processes if system.is_running(child.pid, child.start_mark)]
        return [*found, "supervisor"] if record.alive else found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    code, _, errors = made.run("down")
    assert code == 0, errors
    assert made.living() == []


async def test_the_stack_comes_up_whole_a_second_up_is_harmless_and_a_killed_supervisor_leaves_nothing(machine: Machine) -> None:
    first = machine.json("up", "--no-model")
    assert first["status"] == "ready"
    ready = {each["name"] for each in first["processes"] if each["ready"]}
    assert ready == {"nats", "mongo", "guardrail", "generator", "analytics", "learner", "evolution", "executor-1"}
    again = machine.json("up", "--no-model")
    assert [each["pid"] for each in again["processes"]] == [each["pid"] for each in first["processes"]]
    assert machine.json("runs") == {"runs": []}
    assert (machine.home.keys / "guardrail.key").stat().st_mode & 0o077 == 0
    secrets = [path for path in machine.home.secrets.root.rglob("*") if path.is_file()]
    assert len(secrets) >= 17 and all(path.stat().st_mode & 0o077 == 0 for path in secrets)
    assert machine.json("bus", "dead-letters", "list") == {"dead_letters": []}
    assert len(machine.json("store", "apply")["users"]) == 7
    assert not [path.name for path in machine.home.logs.glob("*.log") if "permissions violation" in path.read_text().lower()]
    # nats.connect would leave the refused connection open, with nobody who can close it.
    with pytest.raises(ConfigurationError, match=r"(?i)authorization"):
        await open_client(SharedSettings(nats_url=first["urls"]["nats"]), name="nobody")
    os.kill(first["supervisor_pid"], signal.SIGKILL)
    await eventually(lambda: machine.living() == [])
    code, out, _ = machine.run("status", "--json")
    assert (code, json.loads(out)["status"]) == (3, "dead")


async def test_interrupting_a_start_stops_what_it_started_with_code_130(machine: Machine) -> None:
    process = machine.start("up", "--no-model")
    await eventually(
        lambda: any(each.name == "nats" and each.status == "ready" for each in read_state(machine.home.state_file).processes), 60
    )
    assert machine.living()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert machine.living() == []
    assert read_state(machine.home.state_file).status == "stopped"


def test_a_service_that_cannot_start_is_named_with_its_reason_and_nothing_stays(machine: Machine) -> None:
    machine.run("keys", "create")
    (machine.home.keys / "guardrail.key").chmod(0o644)
    code, _, errors = machine.run("up", "--no-model")
    assert code == 3
    assert "guardrail does not start" in errors and "open to others" in errors and "Traceback" not in errors
    assert machine.living() == []
    status = json.loads(machine.run("status", "--json")[1])
    assert status["status"] == "failed" and "open to others" in status["error"]


def test_a_demanded_port_that_is_taken_starts_nothing(machine: Machine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        began = time.monotonic()
        code, _, errors = machine.run("up", "--no-model", "--port", f"nats={port}")
    assert code == 2
    assert f"port {port}, wanted for nats, is taken" in errors
    assert not machine.home.state_file.exists() and time.monotonic() - began < 30


def test_a_folder_without_pipelines_is_told_before_anything_starts(machine: Machine, tmp_path: Path) -> None:
    machine.environment["EVOLINE_PIPELINES_DIR"] = str(tmp_path / "nothing")
    code, _, errors = machine.run("up", "--no-model")
    assert code == 2
    assert "EVOLINE_PIPELINES_DIR" in errors
    assert not machine.home.state_file.exists()
