"""Deliveries on a real broker: acknowledged last, once in effect, retried with delay, never run twice at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator

import nats
import pytest

from shared.errors import FencedError, InvalidInputError, UnavailableError
from shared.events import Message, derive_id
from shared.events.improvement import LearnFromRuns, PatternsMined
from shared.messaging.handling import Delivery
from shared.messaging.retry import RetryPolicy
from shared.messaging.topology import MAX_BODY_BYTES
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.messaging import DURABLE, consuming, learn, mined, queue_state, short_ack_wait, stored

pytestmark = pytest.mark.usefixtures("empty_streams")
QUICK = RetryPolicy(initial_seconds=0.05, max_seconds=0.2)


async def test_handled_command_leaves_the_queue_and_its_effect_is_published_under_a_derived_id(
    open_bus: OpenBus, nats_url: str
) -> None:
    bus = await open_bus("learner")
    seen: list[Delivery] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> list[tuple[str, Message]]:
        seen.append(delivery)
        return [("mined", mined(message.learning_id))]

    async with (
        consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)),
        bus.follow(PatternsMined) as facts,
    ):
        command_id = await bus.publish(learn("once"), cause="test-handled")
        fact, received = await asyncio.wait_for(anext(facts), 5)
        assert isinstance(fact, PatternsMined)
        assert fact.learning_id == "once"
        assert received.message_id == derive_id(command_id, "mined")
        await eventually(lambda: queue_is_empty(bus))
    assert [delivery.attempt for delivery in seen] == [1]
    assert seen[0].message_id == command_id
    assert seen[0].headers["ce-type"] == "evoline.LearnFromRuns"


async def queue_is_empty(bus: object) -> bool:
    return await queue_state(bus) == (0, 0)  # type: ignore[arg-type]


async def test_redelivered_command_has_its_effects_once(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    attempts: list[int] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> Iterator[tuple[str, Message]]:
        attempts.append(delivery.attempt)

        def effects() -> Iterator[tuple[str, Message]]:
            yield "first", mined(message.learning_id, 1)
            if delivery.attempt < 3:
                raise UnavailableError("cut between two effects")
            yield "second", mined(message.learning_id, 2)

        return effects()

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE, retry=QUICK)):
        await bus.publish(learn(), cause="test-effects-once")
        await eventually(lambda: len(attempts) == 3)
        await eventually(lambda: queue_is_empty(bus))
    facts = [json.loads(message.data or b"{}")["revisions"] for message in await stored(bus, "EVT")]
    assert facts == [1, 2]


async def test_message_is_acknowledged_only_after_its_effects_are_stored(
    open_bus: OpenBus, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await open_bus("learner")
    pending_at_publish: list[tuple[int, int]] = []
    publish = bus.publish

    async def watched(message: Message, *, cause: str, effect: str = "") -> str:
        if isinstance(message, PatternsMined):
            pending_at_publish.append(await queue_state(bus))
        return await publish(message, cause=cause, effect=effect)

    monkeypatch.setattr(bus, "publish", watched)

    async def handle(message: LearnFromRuns, delivery: Delivery) -> list[tuple[str, Message]]:
        return [("mined", mined(message.learning_id))]

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)):
        await bus.publish(learn(), cause="test-ack-last")
        await eventually(lambda: queue_is_empty(bus))
    assert pending_at_publish == [(0, 1)]


async def test_same_cause_twice_is_one_message(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    command = learn()
    first = await bus.publish(command, cause="test-same-cause")
    assert await bus.publish(command, cause="test-same-cause") == first
    assert len(await stored(bus, "CMD")) == 1


async def test_raw_client_needs_nothing_but_the_body(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    seen: list[Delivery] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        seen.append(delivery)

    raw = await nats.connect(nats_url)
    await raw.publish("cmd.learner.learn", b'{"learning_id": "raw"}')
    await raw.close()
    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)):
        await eventually(lambda: seen)
    assert seen[0].message_id == derive_id("CMD", str(seen[0].sequence))


async def test_transient_error_is_retried_after_the_wished_delay(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    times: list[float] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        times.append(time.monotonic())
        if delivery.attempt == 1:
            raise UnavailableError("not yet", retry_after_seconds=0.6)

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)):
        await bus.publish(learn(), cause="test-delay")
        await eventually(lambda: len(times) == 2)
        await eventually(lambda: queue_is_empty(bus))
    assert 0.55 <= times[1] - times[0] < 3.0


async def test_handler_longer_than_ack_wait_runs_once(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    starts: list[int] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        starts.append(delivery.attempt)
        await asyncio.sleep(2.5)

    async with (
        short_ack_wait(bus, 1.0),
        consuming(
            bus,
            nats_url,
            lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE, concurrency=2, ack_wait_seconds=1.0),
        ),
    ):
        await bus.publish(learn(), cause="test-heartbeat")
        await eventually(lambda: starts)
        await eventually(lambda: queue_is_empty(bus))
    assert starts == [1]


async def test_stuck_handler_is_cut_at_its_deadline_and_tried_again(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    attempts: list[int] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            await asyncio.Event().wait()

    async with consuming(
        bus,
        nats_url,
        lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE, deadline_seconds=0.3, retry=QUICK),
    ):
        await bus.publish(learn(), cause="test-deadline")
        await eventually(lambda: queue_is_empty(bus) if len(attempts) == 2 else False)
    assert attempts == [1, 2]


async def test_slots_work_side_by_side_and_hold_nothing_back(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    running: set[str] = set()
    most_running, most_taken = 0, 0

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        nonlocal most_running, most_taken
        running.add(message.learning_id)
        most_running = max(most_running, len(running))
        most_taken = max(most_taken, (await queue_state(bus))[1])
        await asyncio.sleep(0.1)
        running.discard(message.learning_id)

    for number in range(24):
        await bus.publish(learn(f"slot-{number}"), cause=f"test-slots-{number}")
    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE, concurrency=3)):
        await eventually(lambda: queue_is_empty(bus))
    assert most_running == 3
    # Each slot holds one message, and the acknowledgement of its last one may still be on its way.
    assert most_taken <= 6


async def test_slow_message_does_not_delay_a_fast_one(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    ended: list[str] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        await asyncio.sleep(2.0 if message.learning_id == "slow" else 0.01)
        ended.append(message.learning_id)

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE, concurrency=2)):
        await bus.publish(learn("slow"), cause="test-slow")
        for number in range(5):
            await bus.publish(learn(f"fast-{number}"), cause=f"test-fast-{number}")
        await eventually(lambda: len(ended) == 6)
    assert ended[-1] == "slow"


async def test_fenced_handler_leaves_the_message_to_its_new_owner(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    attempts: list[int] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if delivery.attempt == 1:
            raise FencedError("another owner took over")

    async with (
        short_ack_wait(bus, 1.0),
        consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)),
    ):
        await bus.publish(learn(), cause="test-fenced")
        await eventually(lambda: queue_is_empty(bus) if len(attempts) == 2 else False)
    assert attempts == [1, 2]


async def test_stopped_consumer_gives_back_what_it_was_doing_at_once(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    started, done = asyncio.Event(), asyncio.Event()
    attempts: list[int] = []

    async def hang(message: LearnFromRuns, delivery: Delivery) -> None:
        started.set()
        await asyncio.Event().wait()

    async def finish(message: LearnFromRuns, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        done.set()

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, hang, durable=DURABLE)):
        await bus.publish(learn(), cause="test-stop")
        await asyncio.wait_for(started.wait(), 5)
    stopped = time.monotonic()
    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, finish, durable=DURABLE)):
        await asyncio.wait_for(done.wait(), 5)
    assert time.monotonic() - stopped < 2.0
    assert attempts == [2]


async def test_message_of_a_killed_process_is_delivered_to_another(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    attempts: list[int] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)

    async with short_ack_wait(bus, 1.0):
        await bus.publish(learn(), cause="test-kill")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.hanging_consumer",
            nats_url,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"started\n"
        process.send_signal(signal.SIGKILL)
        await process.wait()
        async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)):
            await eventually(lambda: attempts)
            await eventually(lambda: queue_is_empty(bus))
    assert attempts == [2]


async def test_too_large_message_is_refused_with_its_size(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    command = LearnFromRuns.model_construct(learning_id="x" * (MAX_BODY_BYTES + 1), domain=None, author="ada")
    with pytest.raises(InvalidInputError, match="at most 1,000,000"):
        await bus.publish(command, cause="test-large")
    assert await stored(bus, "CMD") == []


async def test_publish_survives_a_broker_that_is_away_for_a_moment(open_bus: OpenBus, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = await open_bus("learner")
    publish, failures = bus.jetstream.publish, iter([True, True])

    async def flaky(*args: object, **options: object) -> object:
        answer = await publish(*args, **options)  # type: ignore[arg-type]
        if next(failures, False):
            raise nats.errors.TimeoutError
        return answer

    monkeypatch.setattr(bus.jetstream, "publish", flaky)
    await bus.publish(learn(), cause="test-flaky")
    assert len(await stored(bus, "CMD")) == 1
