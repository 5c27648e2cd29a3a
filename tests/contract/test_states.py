"""One suite on shared documents in memory and in the broker's key-value store."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest

from services.executor.ports import SharedStates
from shared.errors import UnavailableError
from shared.messaging.bus import Bus
from shared.messaging.provisioning import provision
from shared.messaging.states import BUCKET, BucketStates
from shared.settings import SharedSettings
from tests.eventually import eventually
from tests.fakes.states import InMemoryStates
from tests.servers import nats_server


@pytest.fixture(params=["memory", "nats"])
def server(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("nats_url"))


@pytest.fixture
async def states(server: str | None) -> AsyncIterator[SharedStates]:
    if server is None:
        yield InMemoryStates()
        return
    bus = await Bus.connect(SharedSettings(nats_url=server), service="executor")
    opened = BucketStates(bus)
    await opened.open()
    yield opened
    await bus.close()


@pytest.fixture
def key() -> str:
    return f"limit/{uuid.uuid4().hex}/=2A"


async def test_nothing_is_there_before_somebody_writes(states: SharedStates, key: str) -> None:
    assert await states.read(key) == (b"", 0)


async def test_what_was_written_is_read_with_its_revision(states: SharedStates, key: str) -> None:
    first = await states.write(key, b"one", 0)
    assert first is not None
    assert await states.read(key) == (b"one", first)
    second = await states.write(key, b"two", first)
    assert second is not None
    assert second > first
    assert await states.read(key) == (b"two", second)


async def test_of_writers_who_read_the_same_one_is_first(states: SharedStates, key: str) -> None:
    written = await asyncio.gather(*(states.write(key, b"%d" % number, 0) for number in range(20)))
    winners = [(number, revision) for number, revision in enumerate(written) if revision is not None]
    assert len(winners) == 1
    number, revision = winners[0]
    assert await states.read(key) == (b"%d" % number, revision)


async def test_a_stale_revision_changes_nothing(states: SharedStates, key: str) -> None:
    first = await states.write(key, b"one", 0)
    assert first is not None
    second = await states.write(key, b"two", first)
    assert await states.write(key, b"three", first) is None
    assert await states.read(key) == (b"two", second)


async def test_changes_of_a_key_are_told_to_those_who_asked_for_it(states: SharedStates, key: str) -> None:
    told: list[bytes] = []
    states.on_change(key, told.append)
    await states.write(f"{key}-other", b"other", 0)
    await states.write(key, b"one", 0)
    await eventually(lambda: told == [b"one"])


async def test_a_key_that_was_deleted_by_hand_can_be_written_again(open_bucket: tuple[Bus, BucketStates], key: str) -> None:
    bus, states = open_bucket
    await states.write(key, b"one", 0)
    await (await bus.jetstream.key_value(BUCKET)).delete(key)
    body, revision = await states.read(key)
    assert body == b""
    assert await states.write(key, b"two", revision) is not None


async def test_a_broker_that_is_gone_is_told_as_unavailable() -> None:
    with nats_server() as url:
        await provision(url)
        bus = await Bus.connect(SharedSettings(nats_url=url), service="executor")
        states = BucketStates(bus)
        await states.open()
    with pytest.raises(UnavailableError):
        await states.read("limit/x")
    with pytest.raises(UnavailableError):
        await states.write("limit/x", b"", 0)
    with contextlib.suppress(ConnectionError):  # of the client, whose server is gone
        await bus.close()


@pytest.fixture
async def open_bucket(nats_url: str) -> AsyncIterator[tuple[Bus, BucketStates]]:
    bus = await Bus.connect(SharedSettings(nats_url=nats_url), service="executor")
    states = BucketStates(bus)
    await states.open()
    yield bus, states
    await bus.close()
