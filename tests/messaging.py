"""What tests of the bus share: small real messages, a consumer that is stopped at the end, reading streams raw."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from nats.js import api

from shared.events.improvement import LearnFromRuns, PatternsMined
from shared.messaging.bus import Bus
from shared.messaging.consumer import Consumer
from shared.messaging.topology import durables
from shared.settings import SharedSettings

DURABLE = "learner-learn"


def learn(learning_id: str = "") -> LearnFromRuns:
    """A command with an id of its own."""
    return LearnFromRuns(learning_id=learning_id or f"learning-{uuid.uuid4().hex}")


def mined(learning_id: str, revisions: int = 0) -> PatternsMined:
    return PatternsMined(learning_id=learning_id, revisions=revisions, runs=0, patterns=())


@contextlib.asynccontextmanager
async def consuming(bus: Bus, nats_url: str, register: Callable[[Consumer], None]) -> AsyncIterator[Consumer]:
    consumer = Consumer(bus, SharedSettings(nats_url=nats_url))
    register(consumer)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop(grace_seconds=0.1)


@contextlib.asynccontextmanager
async def short_ack_wait(bus: Bus, seconds: float, durable: str = DURABLE) -> AsyncIterator[None]:
    """Makes the server give up on a silent consumer sooner than in production."""
    row = next(row for row in durables() if row.name == durable)
    config = (await bus.jetstream.consumer_info(row.stream, durable)).config
    config.ack_wait = seconds
    await bus.jetstream.add_consumer(row.stream, config)
    try:
        yield
    finally:
        config.ack_wait = row.ack_wait_seconds
        await bus.jetstream.add_consumer(row.stream, config)


async def stored(bus: Bus, stream: str) -> list[api.RawStreamMsg]:
    """Everything in a stream, oldest first."""
    state = (await bus.jetstream.stream_info(stream, subjects_filter=">")).state
    if not state.messages:
        return []
    found = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        with contextlib.suppress(Exception):
            found.append(await bus.jetstream.get_msg(stream, sequence))
    return found


async def queue_state(bus: Bus, durable: str = DURABLE, stream: str = "CMD") -> tuple[int, int]:
    """(waiting, being handled or waiting for a retry)."""
    info: Any = await bus.jetstream.consumer_info(stream, durable)
    return info.num_pending, info.num_ack_pending
