"""Messages that cannot be handled: kept, told to their sender, listed, sent back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import nats
import pytest

from shared.errors import InvalidInputError, NotFoundError, Problem
from shared.events import Message, derive_id
from shared.events.improvement import LearnFromRuns, PipelineScored
from shared.events.operations import CommandRefused
from shared.messaging.bus import Bus
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letters import DeadLetter, list_dead_letters, redrive
from shared.messaging.handling import Delivery
from shared.messaging.retry import RetryPolicy
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.messaging import DURABLE, consuming, learn, mined, queue_state, stored

pytestmark = pytest.mark.usefixtures("empty_streams")
QUICK = RetryPolicy(transient_attempts=3, initial_seconds=0.02, max_seconds=0.05)


async def never(message: LearnFromRuns, delivery: Delivery) -> None:
    raise AssertionError("a message that cannot be read was handled")


async def letters(bus: Bus, count: int = 1) -> list[DeadLetter]:
    async def enough() -> list[DeadLetter]:
        found = await list_dead_letters(bus)
        assert len(found) == count
        assert await queue_state(bus) == (0, 0)
        return found

    await eventually(lambda: settled(enough))
    return await enough()


async def settled(check: Callable[[], Awaitable[object]]) -> bool:
    """True once `check` holds, whatever it returns."""
    await check()
    return True


async def refusal(bus: Bus) -> CommandRefused:
    found = [message for message in await stored(bus, "EVT") if message.subject == CommandRefused.subject]
    assert len(found) == 1
    return CommandRefused.model_validate_json(found[0].data or b"")


@pytest.mark.parametrize("body", [b"{not json", b"", b"[1, 2]", b"\xff\xfe", b"null"])
async def test_body_that_is_no_json_object_is_dead_lettered_with_its_payload_and_told(
    open_bus: OpenBus, nats_url: str, body: bytes
) -> None:
    bus = await open_bus("learner")
    await publish_raw(nats_url, body)
    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, never, durable=DURABLE)):
        letter = (await letters(bus))[0]
    assert letter.payload == body
    assert (letter.subject, letter.code, letter.attempts, letter.service) == ("cmd.learner.learn", "invalid_input", 1, "learner")
    assert letter.error
    refused = await refusal(bus)
    assert (refused.command, refused.code, refused.correlation_id) == ("cmd.learner.learn", "invalid_input", "")
    assert len(refused.problems) == 1


async def publish_raw(nats_url: str, body: bytes, subject: str = "cmd.learner.learn") -> int:
    client = await nats.connect(nats_url)
    sequence = (await client.jetstream().publish(subject, body)).seq
    await client.close()
    return sequence


async def test_every_wrong_field_is_named_and_the_sender_is_found_by_its_own_id(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    sequence = await publish_raw(nats_url, json.dumps({"learning_id": "mine", "domain": "NOT A DOMAIN", "colour": 1}).encode())
    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, never, durable=DURABLE)):
        await letters(bus)
    refused = await refusal(bus)
    assert refused.correlation_id == "mine"
    assert refused.message_id == derive_id("CMD", str(sequence))
    assert {problem.path for problem in refused.problems} == {"domain", "colour"}
    assert "is not a field of this message" in {problem.reason for problem in refused.problems}


async def test_permanent_error_of_a_handler_is_dead_lettered_at_once_with_its_problems(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    attempts: list[int] = []

    async def refuse(message: LearnFromRuns, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise InvalidInputError([Problem(path="learning_id", reason="taken"), Problem(path="domain", reason="unknown")])

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, refuse, durable=DURABLE)):
        message_id = await bus.publish(learn("refused"), cause="test-permanent")
        letter = (await letters(bus))[0]
    assert attempts == [1]
    assert letter.message_id == message_id
    refused = await refusal(bus)
    assert refused.message_id == message_id
    assert [problem.path for problem in refused.problems] == ["learning_id", "domain"]


async def test_unknown_error_is_tried_to_the_limit_then_dead_lettered(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    attempts: list[int] = []

    async def crash(message: LearnFromRuns, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise KeyError("surprise")

    async with consuming(
        bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, crash, durable=DURABLE, max_attempts=3, retry=QUICK)
    ):
        await bus.publish(learn(), cause="test-unknown")
        letter = (await letters(bus))[0]
    assert attempts == [1, 2, 3]
    assert (letter.code, letter.attempts) == ("internal", 3)
    assert "surprise" in letter.error


async def test_broken_fact_is_dead_lettered_without_a_refusal(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")

    async def handle(fact: PipelineScored, delivery: Delivery) -> None:
        raise AssertionError("a broken fact was handled")

    await publish_raw(nats_url, b"{}", PipelineScored.subject)
    async with consuming(bus, nats_url, lambda consumer: consumer.on(PipelineScored, handle, durable="learner-pipeline-scored")):
        letter = (await letters(bus))[0]
    assert letter.durable == "learner-pipeline-scored"
    assert [message.subject for message in await stored(bus, "EVT")] == [PipelineScored.subject]


async def test_consumer_goes_on_after_many_broken_messages(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    handled: list[str] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        handled.append(message.learning_id)

    for number in range(30):
        await publish_raw(nats_url, b"{" * number)
    await bus.publish(learn("good"), cause="test-goes-on")
    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)):
        await letters(bus, 30)
    assert handled == ["good"]


async def test_redriven_letters_are_handled_under_their_first_id_and_leave_the_stream(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    broken, seen = True, []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> list[tuple[str, Message]]:
        if broken:
            raise InvalidInputError("not in this version")
        seen.append(delivery.message_id)
        return [("mined", mined(message.learning_id))]

    def register(consumer: Consumer) -> None:
        consumer.on(LearnFromRuns, handle, durable=DURABLE)

    async with consuming(bus, nats_url, register):
        ids = [await bus.publish(learn(f"again-{number}"), cause=f"test-redrive-{number}") for number in range(3)]
        buried = await letters(bus, 3)
        broken = False
        assert await redrive(bus, buried[1].sequence) == 1
        await eventually(lambda: len(seen) == 1)
        assert seen == [buried[1].message_id]
        assert await redrive(bus) == 2
        await letters(bus, 0)
        await eventually(lambda: len(seen) == 3)
    assert sorted(seen) == sorted(ids)


async def test_two_who_send_all_letters_back_at_once_send_each_of_them_once(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    broken, seen = True, []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        seen.append(delivery.message_id)
        if broken:
            raise InvalidInputError("not in this version")

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)):
        for number in range(20):
            await bus.publish(learn(f"twice-{number}"), cause=f"test-twice-{number}")
        buried = await letters(bus, 20)
        assert [each.sequence for each in await list_dead_letters(bus, limit=3)] == [each.sequence for each in buried[:3]]
        broken = False
        seen.clear()
        counts = await asyncio.gather(redrive(bus), redrive(bus))
        await letters(bus, 0)
        await eventually(lambda: len(seen) == 20)
    assert sum(counts) == 20 and sorted(seen) == sorted(each.message_id for each in buried)
    assert await list_dead_letters(bus) == []


async def test_redriving_what_is_not_there_says_so(open_bus: OpenBus) -> None:
    bus = await open_bus("learner")
    with pytest.raises(NotFoundError, match="no dead letter 424242"):
        await redrive(bus, 424242)
