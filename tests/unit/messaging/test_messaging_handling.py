"""The story of one delivery, with a message that only remembers what was said to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from nats.aio.msg import Msg

from shared.errors import UnavailableError
from shared.events.improvement import LearnFromRuns
from shared.messaging.bus import Bus
from shared.messaging.handling import Delivery, DeliveryDesk, Subscription, beating
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
    async with beating(cast("Msg", message), 0.01):
        await eventually(lambda: len(message.said) >= 3)
    beats = len(message.said)
    await asyncio.sleep(0.05)
    assert message.said == ["working"] * beats
