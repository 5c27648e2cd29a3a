"""Pulling on a real broker: as many messages as there are free slots, one request at a time, whatever happens to it."""

from __future__ import annotations

import asyncio

import pytest

from shared.events.improvement import LearnFromRuns
from shared.messaging.bus import Bus
from shared.messaging.handling import Delivery
from shared.messaging.provisioning import consumer_config
from shared.messaging.topology import durables
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.messaging import DURABLE, consuming, learn, queue_state

pytestmark = pytest.mark.usefixtures("empty_streams")
ROW = next(row for row in durables() if row.name == DURABLE)


async def waiting_requests(bus: Bus) -> int:
    return int((await bus.jetstream.consumer_info(ROW.stream, DURABLE)).num_waiting or 0)


async def test_a_thousand_free_slots_are_one_request_and_are_all_used(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    running, most = 0, 0
    enough = asyncio.Event()

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 300:
            enough.set()
        await enough.wait()
        running -= 1

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE, concurrency=1000)):
        await eventually(lambda: is_waiting(bus))
        assert await waiting_requests(bus) == 1
        await asyncio.gather(*(bus.publish(learn(f"many-{n}"), cause=f"test-many-{n}") for n in range(300)))
        await asyncio.wait_for(enough.wait(), 20)
        await eventually(lambda: is_empty(bus))
    assert most == 300


async def is_waiting(bus: Bus) -> bool:
    return await waiting_requests(bus) == 1


async def is_empty(bus: Bus) -> bool:
    return await queue_state(bus) == (0, 0)


async def test_a_durable_that_went_away_and_came_back_is_pulled_from_again(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    seen: list[str] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        seen.append(message.learning_id)

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)):
        await eventually(lambda: is_waiting(bus))
        await bus.jetstream.delete_consumer(ROW.stream, DURABLE)
        await bus.publish(learn("while-away"), cause="test-away")
        await bus.jetstream.add_consumer(ROW.stream, consumer_config(ROW))
        await eventually(lambda: seen == ["while-away"])


async def test_what_arrives_while_stopping_is_given_back_at_once(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    done: list[str] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        done.append(message.learning_id)

    publishing = []
    for round_number in range(10):
        async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE, concurrency=4)):
            await eventually(lambda: is_waiting(bus))
            publishing += [
                asyncio.create_task(bus.publish(learn(f"{round_number}-{n}"), cause=f"test-stopping-{round_number}-{n}"))
                for n in range(5)
            ]
    await asyncio.gather(*publishing)
    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE, concurrency=4)):
        await eventually(lambda: is_empty(bus))
    assert sorted(set(done)) == sorted(f"{round_number}-{n}" for round_number in range(10) for n in range(5))
