"""Executors in this process, on a real broker and a real store."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.executor.app import create_app
from services.executor.settings import ExecutorSettings
from shared.attestation import public_pem
from shared.pipeline.completion import Family, LanguageModel
from shared.service import Application
from shared.settings import SharedSettings
from shared.storage import MongoStore, connect
from tests.fakes.executor import Notary
from tests.guarded_broker import GuardedBroker, guarded_broker, provision_as_admin
from tests.integration.commands import Command
from tests.integration.executors import StartExecutor, StopExecutor


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """A real broker with the generated users and permissions, provisioned by its administrator."""
    with guarded_broker(tmp_path_factory.mktemp("broker")) as started:
        asyncio.run(provision_as_admin(started))
        yield started


@pytest.fixture
async def store(mongo_url: str) -> AsyncIterator[MongoStore]:
    opened = connect(SecretStr(mongo_url))
    for name in ("evoline_executor", "evoline_guardrail"):
        await opened.drop_database(name)
    yield opened
    opened.close()


@pytest.fixture
def notary(tmp_path: Path) -> Notary:
    made = Notary()
    (tmp_path / "guardrail.pub").write_bytes(public_pem(made.key.public_key()))
    return made


@pytest.fixture
async def start_executor(nats_url: str, mongo_url: str, tmp_path: Path, notary: Notary) -> AsyncIterator[StartExecutor]:
    started: list[Application] = []

    async def start(model: LanguageModel | Mapping[Family, LanguageModel] | None, **own: Any) -> StopExecutor:
        """One model for both families, one each, or those of the settings."""
        settings = SharedSettings(
            nats_url=nats_url, mongo_url=SecretStr(mongo_url), guardrail_public_key_file=tmp_path / "guardrail.pub"
        )
        app = create_app(
            settings,
            ExecutorSettings(id=f"executor-{len(started)}", workspace_dir=tmp_path / "workspaces", **own),
            models=model if model is None or isinstance(model, Mapping) else {"claude": model, "gemini": model},
        )
        await app.start()
        started.append(app)

        async def stop() -> None:
            started.remove(app)
            await app.stop()

        return stop

    yield start
    for app in started:
        await app.stop()


@pytest.fixture
def command(nats_url: str, tmp_path: Path) -> Command:
    """Runs `evoline ...` as a process: (exit code, parsed stdout, stderr)."""

    async def run_it(*arguments: str) -> tuple[int, Any, str]:
        environment = os.environ | {"EVOLINE_NATS_URL": nats_url, "EVOLINE_HOME": str(tmp_path / "home")}
        line = [sys.executable, "-m", "evoline.cli", *arguments]
        done = await asyncio.to_thread(subprocess.run, line, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout.startswith(("{", "[")) else done.stdout, done.stderr

    return run_it
