"""The story of one delivery, with a message that only remembers what was said to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from shared.clock import SystemClock
from shared.errors import InvalidInputError, UnavailableError
from shared.events.improvement import LearnFromRuns
from shared.messaging.bus import Bus
from shared.messaging.handling import Delivery, DeliveryDesk, Subscription
from shared.messaging.lease import Lease
from shared.messaging.retry import RetryPolicy
from tests.eventually import eventually


@dataclass
class RecordedMessage:
    attempt: int = 1
    data: bytes = b'{"learning_id": "x"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    subject: str = "cmd.learner.learn"
    said: list[str] = field(default_factory=list)
    is_acked: bool = False

    @property
    def metadata(self) -> Any:
        return SimpleNamespace(stream="CMD", sequence=SimpleNamespace(stream=9, consumer=9), num_delivered=self.attempt)

    async def ack(self) -> None:
        self.said.append("ack")

    async def nak(self, delay: float | None = None) -> None:
        self.said.append("nak" if delay is None else "nak later")

    async def term(self) -> None:
        self.said.append("term")

    async def in_progress(self) -> None:
        self.said.append("working")


@dataclass
class RecordingStream:
    """Stands where the broker stores messages."""

    stored: list[str] = field(default_factory=list)
    down: bool = False

    async def publish(self, subject: str, body: bytes, **_: Any) -> None:
        if self.down:
            raise TimeoutError
        self.stored.append(subject)


def desk(stream: RecordingStream, handler: Any, retry: RetryPolicy | None = None) -> DeliveryDesk:
    client = SimpleNamespace(jetstream=lambda timeout: stream, is_closed=stream.down)
    bus = Bus(cast("Any", client), service="learner")
    subscription = Subscription(LearnFromRuns, handler, "learner-learn", "CMD", 5.0, 2.0, retry or RetryPolicy())
    return DeliveryDesk(bus, subscription)


@dataclass
class SetClock:
    """Time that stands still until a test moves it: a stalled process is one whose clock jumps."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


def stalled_desk(stream: RecordingStream, handler: Any, clock: SetClock) -> DeliveryDesk:
    made = desk(stream, handler)
    made.bus.parts = replace(made.bus.parts, clock=clock)
    return made


async def test_message_that_kills_every_process_is_buried_without_another_try() -> None:
    stream, message = RecordingStream(), RecordedMessage(attempt=8)

    async def handle(body: LearnFromRuns, delivery: Delivery) -> None:
        raise AssertionError("handled again")

    await desk(stream, handle, RetryPolicy(max_attempts=3, transient_attempts=7)).receive(cast("Msg", message))
    assert stream.stored == ["dlq.cmd.learner.learn", "evt.command.refused"]
    assert message.said == ["term"]


async def test_message_is_kept_when_its_dead_letter_cannot_be_stored() -> None:
    stream, message = RecordingStream(down=True), RecordedMessage(data=b"{")

    async def handle(body: LearnFromRuns, delivery: Delivery) -> None:
        raise AssertionError("handled what cannot be read")

    await desk(stream, handle).receive(cast("Msg", message))
    assert message.said == ["nak later"]


async def test_transient_error_after_many_tries_is_still_retried_and_an_unknown_one_buried() -> None:
    async def unavailable(body: LearnFromRuns, delivery: Delivery) -> None:
        raise UnavailableError("store is down")

    async def broken(body: LearnFromRuns, delivery: Delivery) -> None:
        raise KeyError("x")

    first, second = RecordedMessage(attempt=20), RecordedMessage(attempt=20)
    await desk(RecordingStream(), unavailable).receive(cast("Msg", first))
    await desk(RecordingStream(), broken).receive(cast("Msg", second))
    assert (first.said, second.said) == (["nak later"], ["term"])


async def test_cancelled_delivery_is_given_back_and_its_task_ends_well() -> None:
    message, entered = RecordedMessage(), asyncio.Event()

    async def hang(body: LearnFromRuns, delivery: Delivery) -> None:
        entered.set()
        await asyncio.Event().wait()

    busy = desk(RecordingStream(), hang)
    task = asyncio.create_task(busy.receive(cast("Msg", message)))
    await entered.wait()
    assert busy.in_flight == {task}
    task.cancel()
    await task
    assert message.said == ["nak"]
    assert busy.in_flight == set()


async def test_heart_beats_while_work_goes_on_and_stops_with_it() -> None:
    message = RecordedMessage()
    async with Lease(cast("Msg", message), SystemClock(), ack_wait_seconds=5, beat_seconds=0.01).kept():
        await eventually(lambda: len(message.said) >= 3)
    beats = len(message.said)
    await asyncio.sleep(0.05)
    assert message.said == ["working"] * beats


async def test_a_delivery_that_was_silent_for_too_long_gives_no_more_signs_of_life() -> None:
    clock, message = SetClock(), RecordedMessage()
    lease = Lease(cast("Msg", message), clock, ack_wait_seconds=6, beat_seconds=2)
    clock.seconds = 7.0
    async with lease.kept():
        await asyncio.sleep(0.01)
    assert message.said == []
    assert not lease.is_held


@pytest.mark.parametrize("error", [UnavailableError("store is down"), InvalidInputError("wrong"), KeyError("x")])
async def test_a_late_failure_takes_the_message_from_nobody(error: Exception) -> None:
    clock, stream, message = SetClock(), RecordingStream(), RecordedMessage(attempt=20)

    async def stall(body: LearnFromRuns, delivery: Delivery) -> None:
        clock.seconds += 7.0
        raise error

    await stalled_desk(stream, stall, clock).receive(cast("Msg", message))
    assert message.said == []
    assert stream.stored == []


async def test_a_stopping_process_gives_nothing_back_that_is_not_its_own_any_more() -> None:
    clock, message, entered = SetClock(), RecordedMessage(), asyncio.Event()

    async def hang(body: LearnFromRuns, delivery: Delivery) -> None:
        clock.seconds += 7.0
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(stalled_desk(RecordingStream(), hang, clock).receive(cast("Msg", message)))
    await entered.wait()
    task.cancel()
    await task
    assert message.said == []


async def test_what_is_done_is_acknowledged_however_late() -> None:
    clock, message = SetClock(), RecordedMessage()

    async def slow(body: LearnFromRuns, delivery: Delivery) -> None:
        clock.seconds += 7.0

    await stalled_desk(RecordingStream(), slow, clock).receive(cast("Msg", message))
    assert message.said == ["ack"]
