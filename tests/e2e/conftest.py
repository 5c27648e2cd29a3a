"""The whole local stack as a user starts it: `evoline up` in a folder of its own, three executors, the real local model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evoline.stack.home import Home
from shared.settings import SharedSettings

ROOT = Path(__file__).parents[2]
START_SECONDS = 240


@dataclass(frozen=True)
class Stack:
    home: Path

    def evoline(self, *arguments: str, timeout_seconds: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Types a command line; raises with everything it printed unless it exits with 0."""
        done = subprocess.run(
            [sys.executable, "-m", "evoline.cli", *arguments],
            cwd=ROOT,
            env={**os.environ, "EVOLINE_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"evoline {' '.join(arguments)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def json(self, *arguments: str, timeout_seconds: float = 300) -> Any:
        return json.loads(self.evoline(*arguments, "--json", timeout_seconds=timeout_seconds).stdout)

    def key_file(self, name: str) -> Path:
        return self.home / "keys" / "identities" / f"{name}.key"

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "stack.json").read_text())
        return found

    def settings(self, role: str) -> SharedSettings:
        """For a connection as this user of the broker."""
        seed = Home(self.home).secrets.seed_file(role)
        return SharedSettings(nats_url=self.nats_url, nats_user=role, nats_seed_file=seed)

    @property
    def nats_url(self) -> str:
        return str(self.state["urls"]["nats"])


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("evoline"))
    try:
        running.evoline("up", "--scale", "executor=3", timeout_seconds=START_SECONDS)
        yield running
    finally:
        running.evoline("down", timeout_seconds=60, check=False)
