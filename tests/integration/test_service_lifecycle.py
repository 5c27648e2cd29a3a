"""A service's process: ready only when it can work, gone within seconds, clear about what it misses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from shared.background import WentWell
from shared.events.improvement import GetKnowledge
from shared.messaging.bus import Bus
from shared.messaging.provisioning import provision
from shared.service import Application, Host
from shared.settings import SharedSettings
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.messaging import DURABLE, learn, queue_state
from tests.servers import free_port, nats_server
from tests.small_service import create_app

pytestmark = pytest.mark.usefixtures("empty_streams")


def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def settings_for(nats_url: str, mongo_url: str, **fields: Any) -> SharedSettings:
    return SharedSettings(nats_url=nats_url, mongo_url=mongo_url, **fields)


@contextlib.asynccontextmanager
async def process(environment: Mapping[str, str]) -> AsyncIterator[Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.small_service", stdout=PIPE, stderr=PIPE, env={**os.environ, "PYTHONPATH": ".", **environment}
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.communicate()


async def line_with(started: Process, text: str) -> str:
    assert started.stdout is not None
    async with asyncio.timeout(20):
        while line := await started.stdout.readline():
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"ended without saying {text!r}")


async def test_started_service_is_ready_answers_and_counts_what_it_handles(
    open_bus: OpenBus, nats_url: str, mongo_url: str
) -> None:
    app = create_app(settings_for(nats_url, mongo_url))
    await app.start()
    try:
        client = await open_bus("cli")
        assert await client.ask(GetKnowledge()) == {"service": "learner"}
        await client.publish(learn(), cause="test-service")
        await eventually(lambda: 'outcome="done"' in metrics_of(app))
        status, body = await asyncio.to_thread(get, app.http_address, "/ready")
        assert (status, json.loads(body)["checks"]) == (
            200,
            dict.fromkeys(("broker", "consumers", "store", "running", "background"), "ok"),
        )
        assert (await asyncio.to_thread(get, app.http_address, "/health"))[0] == 200
        scraped = (await asyncio.to_thread(get, app.http_address, "/metrics"))[1]
        assert 'evoline_bus_messages_total{outcome="done",subject="cmd.learner.learn"} 1.0' in scraped
        assert 'evoline_bus_answers_total{code="ok",subject="api.learner.knowledge"} 1.0' in scraped
    finally:
        await app.stop()


def metrics_of(app: Application) -> str:
    assert app.host is not None
    return generate_latest(app.host.metrics.registry).decode()


async def test_service_is_not_ready_once_its_durable_is_gone(open_bus: OpenBus, nats_url: str, mongo_url: str) -> None:
    app = create_app(settings_for(nats_url, mongo_url))
    await app.start()
    try:
        await (await open_bus("cli")).jetstream.delete_consumer("CMD", DURABLE)
        status, body = await asyncio.to_thread(get, app.http_address, "/ready")
        assert status == 503
        assert "CMD/learner-learn" in json.loads(body)["checks"]["consumers"]
    finally:
        await app.stop()
        await provision(nats_url)


async def test_terminated_service_ends_in_seconds_and_its_message_is_done_by_another(
    open_bus: OpenBus, nats_url: str, mongo_url: str
) -> None:
    bus = await open_bus("cli")
    environment = {"EVOLINE_NATS_URL": nats_url, "EVOLINE_MONGO_URL": mongo_url}
    async with process({**environment, "SMALL_SERVICE_SECONDS": "60"}) as first:
        await line_with(first, "service started")
        await bus.publish(learn("handed-over"), cause="test-sigterm")
        await line_with(first, "started handed-over")
        asked = time.monotonic()
        first.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(first.wait(), 10) == 0
        assert time.monotonic() - asked < 5.0
        async with process(environment) as second:
            await line_with(second, "started handed-over")
            await eventually(lambda: emptied(bus))


async def emptied(bus: Any) -> bool:
    return await queue_state(bus) == (0, 0)


async def test_interrupted_idle_service_ends_at_once(nats_url: str, mongo_url: str) -> None:
    async with process({"EVOLINE_NATS_URL": nats_url, "EVOLINE_MONGO_URL": mongo_url}) as started:
        await line_with(started, "service started")
        asked = time.monotonic()
        started.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(started.wait(), 10) == 0
        assert time.monotonic() - asked < 2.0


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"EVOLINE_NATS_URL": "nats://127.0.0.1:1"}, "no NATS server at nats://127.0.0.1:1"),
        ({"EVOLINE_MONGO_URL": "mongodb://bob:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=500"}, "no MongoDB answers at"),
        ({"EVOLINE_HTTP_PORT": "99999"}, "EVOLINE_HTTP_PORT"),
    ],
)
async def test_missing_server_or_bad_setting_ends_with_code_2_and_what_to_do(
    nats_url: str, mongo_url: str, changed: dict[str, str], expected: str
) -> None:
    environment = {"EVOLINE_NATS_URL": nats_url, "EVOLINE_MONGO_URL": mongo_url, **changed}
    async with process(environment) as started:
        assert started.stderr is not None
        said = (await asyncio.wait_for(started.stderr.read(), 25)).decode()
        assert await started.wait() == 2
    assert expected in said
    assert "Traceback" not in said
    assert "hunter2" not in said


async def test_taken_port_is_named(nats_url: str, mongo_url: str) -> None:
    first = create_app(settings_for(nats_url, mongo_url))
    await first.start()
    try:
        environment = {
            "EVOLINE_NATS_URL": nats_url,
            "EVOLINE_MONGO_URL": mongo_url,
            "EVOLINE_HTTP_PORT": str(first.http_address[1]),
        }
        async with process(environment) as second:
            assert second.stderr is not None
            assert "set EVOLINE_HTTP_PORT to a free port" in (await asyncio.wait_for(second.stderr.read(), 20)).decode()
            assert await second.wait() == 2
    finally:
        await first.stop()


async def test_failing_background_work_ends_the_service_with_code_1(nats_url: str, mongo_url: str) -> None:
    closed: list[str] = []

    async def register(host: Host) -> None:
        async def fail(_: WentWell) -> None:
            await asyncio.sleep(0.05)
            raise RuntimeError("sweeper broke")

        async def close() -> None:
            closed.append("closed")

        host.run_in_background("sweeper", fail)
        host.on_stop(close)

    app = Application("learner", settings_for(nats_url, mongo_url, http_port=free_port()), register)
    assert await asyncio.wait_for(app.run_forever(), 10) == 1
    assert closed == ["closed"]


async def test_service_works_on_after_a_broker_restart_and_stops_in_time_without_one(tmp_path: Path, mongo_url: str) -> None:
    port = free_port()
    url = f"nats://127.0.0.1:{port}"
    async with contextlib.AsyncExitStack() as stack:
        with nats_server(tmp_path, port):
            await provision(url)
            service = await stack.enter_async_context(process({"EVOLINE_NATS_URL": url, "EVOLINE_MONGO_URL": mongo_url}))
            await line_with(service, "service started")
        with nats_server(tmp_path, port):
            bus = await Bus.connect(SharedSettings(nats_url=url), service="cli")
            await bus.publish(learn("after-restart"), cause="test-broker-restart")
            await line_with(service, "started after-restart")
            await bus.close()
        asked = time.monotonic()
        service.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.wait(), 10) == 0
        assert time.monotonic() - asked < 5.5
