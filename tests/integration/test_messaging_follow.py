"""Following facts: in order, from a known place, through restarts of the broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.clock import SystemClock
from shared.events import Fact
from shared.events.improvement import PatternsMined, TemplateLearned
from shared.messaging.bus import Bus, Received
from shared.messaging.provisioning import provision
from shared.messaging.reader import StreamReader
from shared.settings import SharedSettings
from tests.conftest import OpenBus
from tests.messaging import mined
from tests.servers import free_port, nats_server

Facts = AsyncIterator[tuple[Fact, Received]]


async def publish(bus: Bus, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await bus.publish(mined("follow", number), cause=uuid.uuid4().hex)


async def take(facts: Facts, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            fact, _ = await anext(facts)
            assert isinstance(fact, PatternsMined)
            found.append(fact.revisions)
    return found


@pytest.mark.usefixtures("empty_streams")
async def test_follower_gets_everything_published_after_it_entered_and_nothing_before(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    await publish(bus, 3, first=100)
    async with bus.follow(PatternsMined) as facts:
        await publish(bus, 50)
        assert await take(facts, 50) == list(range(50))


@pytest.mark.usefixtures("empty_streams")
async def test_follower_sees_only_the_classes_it_asked_for(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    learned = TemplateLearned(template="t", digest="d", domain="support", document={}, support=1)
    async with bus.follow(TemplateLearned) as facts:
        await publish(bus, 2)
        await bus.publish(learned, cause=uuid.uuid4().hex)
        fact, _ = await asyncio.wait_for(anext(facts), 5)
    assert fact == learned


@pytest.mark.usefixtures("empty_streams")
async def test_following_since_a_sequence_or_a_moment_replays_from_there(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    await publish(bus, 2)
    between = SystemClock().now()
    await publish(bus, 3, first=2)
    async with bus.follow(PatternsMined, since=1) as facts:
        _, received = await asyncio.wait_for(anext(facts), 5)
    async with bus.follow(PatternsMined, TemplateLearned, since=received.sequence + 1) as facts:
        assert await take(facts, 4) == [1, 2, 3, 4]
    async with bus.follow(PatternsMined, since=between) as facts:
        assert await take(facts, 3) == [2, 3, 4]


@pytest.mark.usefixtures("empty_streams")
async def test_unreadable_fact_does_not_blind_a_follower(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    async with bus.follow(PatternsMined) as facts:
        await bus.jetstream.publish(PatternsMined.subject, b"{broken")
        await publish(bus, 1, first=5)
        assert await take(facts, 1) == [5]


async def test_follower_and_publisher_go_on_after_the_broker_was_killed_and_came_back(tmp_path: Path) -> None:
    port = free_port()
    with nats_server(tmp_path, port) as url:
        await provision(url)
        bus = await Bus.connect(SharedSettings(nats_url=url), service="learner")
        following = bus.follow(PatternsMined)
        facts = await following.__aenter__()
        await publish(bus, 2)
        assert await take(facts, 2) == [0, 1]
    publishing = asyncio.create_task(publish(bus, 2, first=2))
    with nats_server(tmp_path, port):
        await publishing
        assert await take(facts, 2) == [2, 3]
        await following.__aexit__(None, None, None)
        await bus.close()


@pytest.mark.usefixtures("empty_streams")
async def test_a_reader_that_is_cancelled_in_the_moment_of_a_message_stops(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    async with StreamReader(bus.client, "EVT", (PatternsMined.subject,)) as reader:
        messages = reader.messages()
        await publish(bus, 1)
        first = await anext(messages)
        reading = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0)
        reader._arrived.put_nowait(first)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(reading, 5)
