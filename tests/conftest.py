"""Fixtures that every suite may use. Real servers live for the whole test run; tests keep apart by names and ids of their own."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import nats
import pytest

from shared.messaging.bus import Bus, BusParts
from shared.messaging.provisioning import provision
from shared.settings import SharedSettings
from tests.servers import mongo_server, nats_server

pytest_plugins = ["tests.turns"]
# Tests run side by side: threads of the linear algebra on small matrices wait for each other for minutes on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
OpenBus = Callable[..., Awaitable[Bus]]


@pytest.fixture(scope="module", autouse=True)
def collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """What tests with real servers left open is found at the end of their module, and not blamed on one of another."""
    yield
    if "unit" not in request.path.relative_to(Path(__file__).parent).parts:
        gc.collect()


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """A real nats-server with JetStream, provisioned with the project's streams and durable consumers."""
    with nats_server() as url:
        asyncio.run(_provision(url))
        yield url


async def _provision(url: str) -> None:
    await provision(url)


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    """A real server of the MongoDB wire protocol."""
    with mongo_server() as url:
        yield url


@pytest.fixture
async def empty_streams(nats_url: str) -> None:
    """Takes away what earlier tests left on the bus, so that a durable consumer starts with nothing."""
    client = await nats.connect(nats_url)
    for stream in ("CMD", "EVT", "FACTS", "DLQ", "ADVISORY"):
        await client.jetstream().purge_stream(stream)
    await client.close()


@pytest.fixture
async def open_bus(nats_url: str) -> AsyncIterator[OpenBus]:
    """`await open_bus("learner")`: a bus that speaks for that service, closed at the end of the test."""
    opened: list[Bus] = []

    async def open_one(service: str, parts: BusParts | None = None) -> Bus:
        bus = await Bus.connect(SharedSettings(nats_url=nats_url), service=service, parts=parts)
        opened.append(bus)
        return bus

    yield open_one
    for bus in opened:
        await bus.close()
