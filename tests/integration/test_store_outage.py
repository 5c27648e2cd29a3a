"""All six services live through the loss of their store, and of their broker: nobody exits, all say so, all work afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from evoline.stack.readiness import http_get
from services.analytics.app import create_app as create_analytics
from services.evolution.app import create_app as create_evolution
from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from services.generator.app import create_app as create_generator
from services.guardrail.app import create_app as create_guardrail
from services.guardrail.settings import GuardrailSettings
from services.learner.app import create_app as create_learner
from shared.attestation import create_key_pair
from shared.events.changes import ChangeApproved
from shared.events.runs import ExecuteRun, RunFinished
from shared.messaging.bus import Bus
from shared.messaging.provisioning import provision
from shared.service import Application
from shared.settings import SharedSettings
from tests.eventually import eventually
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.language_model import ScriptedModel
from tests.fakes.people import own, written_registry
from tests.servers import free_port, mongo_server, nats_server

pytestmark = [pytest.mark.alone, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
OUTAGE_SECONDS = float(os.environ.get("EVOLINE_TEST_OUTAGE_SECONDS", "5"))


@pytest.fixture(autouse=True)
def sockets_cut_off() -> Iterator[None]:
    """Clients drop a connection that the outage cut off in the middle of being made: it is collected here, and not during another
    test, which would be blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Fleet:
    """Six services in this process, each as its own process would run it, on servers that come and go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {"nats": free_port(), "mongo": free_port()}
        self._servers: dict[str, contextlib.ExitStack] = {}
        self.nats_url = f"nats://127.0.0.1:{self._ports['nats']}"
        self.apps: dict[str, Application] = {}
        self.running: dict[str, asyncio.Task[int]] = {}

    async def begin(self, *names: str) -> None:
        for name in names:
            made = contextlib.ExitStack()
            (self._folder / name).mkdir(exist_ok=True)
            serve = nats_server if name == "nats" else mongo_server
            await asyncio.to_thread(made.enter_context, serve(self._folder / name, self._ports[name]))
            self._servers[name] = made

    async def end(self, name: str) -> None:
        await asyncio.to_thread(self._servers.pop(name).close)

    async def start(self) -> None:
        await self.begin("nats", "mongo")
        await provision(self.nats_url)
        keys, registry = create_key_pair(self._folder / "keys"), written_registry(self._folder / "keys")
        settings = SharedSettings(
            nats_url=self.nats_url,
            mongo_url=SecretStr(f"mongodb://127.0.0.1:{self._ports['mongo']}/?replicaSet=secantus&retryWrites=false"),
            pipelines_dir=ROOT / "pipelines",
            guardrail_public_key_file=keys.public,
            identities_file=registry,
            http_host="127.0.0.1",
            log_level="error",
        )
        model = ScriptedModel()
        guardrail = GuardrailSettings(
            private_key_file=keys.private,
            budget_sweep_seconds=0.2,
            checkpoint_interval_seconds=0.2,
            held_interval_seconds=0.2,
            expiry_interval_seconds=0.2,
        )
        executor = ExecutorSettings(workspace_dir=self._folder / "work", quota_tell_seconds=0.2)
        make: dict[str, Callable[[], Application]] = {
            "guardrail": lambda: create_guardrail(settings, guardrail),
            "executor": lambda: create_executor(settings, executor, models={"claude": model, "gemini": model}),
            "generator": lambda: create_generator(settings),
            "analytics": lambda: create_analytics(settings),
            "learner": lambda: create_learner(settings),
            "evolution": lambda: create_evolution(settings),
        }
        for name, create in make.items():
            app = self.apps[name] = create()
            self.running[name] = asyncio.create_task(app.run_forever(), name=name)
            await eventually(partial(_serves, app), 30)

    async def stop(self) -> None:
        for name, task in self.running.items():
            self.apps[name]._ended.set()
            await asyncio.wait({task}, timeout=10)
        for name in list(self._servers):
            await self.end(name)

    def exited(self) -> dict[str, str]:
        return {name: self.apps[name]._fault for name, task in self.running.items() if task.done()}

    async def ready(self) -> dict[str, bool]:
        found = {}
        for name, app in self.apps.items():
            host, port = app.http_address
            found[name] = (await http_get(f"http://{host}:{port}/ready"))[0] == 200
        return found


def _serves(app: Application) -> bool:
    return bool(app.http_address[0])


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def work(fleet: Fleet, change_id: str) -> None:
    """A change is judged and what serves runs: every service that matters for it takes part."""
    bus = await Bus.connect(SharedSettings(nats_url=fleet.nats_url), service="test")
    try:
        async with asyncio.timeout(60), bus.follow(ChangeApproved, RunFinished) as stream:
            steps = [{"name": "classify", "type": "set_variable", "variable": "label", "value": change_id}]
            change = proposal(pipeline(steps=steps), change_id)
            await own(bus, change).publish(change, cause=change_id)
            await anext(fact async for fact, _ in stream if isinstance(fact, ChangeApproved) and fact.change_id == change_id)
            run = ExecuteRun(run_id=uuid.uuid4().hex, pipeline="triage", inputs={"text": "a"})
            await bus.publish(run, cause=run.run_id)
            ended = await anext(fact async for fact, _ in stream if isinstance(fact, RunFinished) and fact.run_id == run.run_id)
            assert isinstance(ended, RunFinished) and ended.status == "succeeded"
    finally:
        await bus.close()


async def test_all_services_outlive_their_store_and_then_their_broker(fleet: Fleet) -> None:
    await work(fleet, "c1")
    for number, server in enumerate(("mongo", "nats"), 2):
        await fleet.end(server)
        await eventually(lambda: _all(fleet, is_ready=False), 20)
        await asyncio.sleep(OUTAGE_SECONDS)  # an outage is so long, whatever happens meanwhile
        assert fleet.exited() == {}, server
        await fleet.begin(server)
        await eventually(lambda: _all(fleet, is_ready=True), 60)
        assert fleet.exited() == {}, server
        await work(fleet, f"c{number}")
    assert fleet.exited() == {}


async def _all(fleet: Fleet, *, is_ready: bool) -> bool:
    return set((await fleet.ready()).values()) == {is_ready}
