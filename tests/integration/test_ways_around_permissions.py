"""Ways by which a service could say what it may not, each tried with its own credentials on a guarded broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
import nats.js.errors
import pytest
from nats.aio.msg import Msg
from nats.js import api
from pydantic import SecretStr

from services.learner.app import create_app as learner_app
from shared.errors import ConfigurationError
from shared.events import Query, derive_id
from shared.events.datasets import GetDataset
from shared.events.deployments import PipelineRolledBack, RollbackPipeline
from shared.events.improvement import GetKnowledge, LearnFromRuns, PatternsMined
from shared.messaging import headers
from shared.messaging.bus import Bus
from shared.messaging.consumer import Consumer
from shared.messaging.dead_letters import list_dead_letters, redrive
from shared.messaging.denials import DeniedError
from shared.messaging.handling import Delivery
from shared.messaging.permissions import ADMIN, CLIENT
from shared.settings import SharedSettings
from tests.eventually import eventually
from tests.guarded_broker import GuardedBroker

FORGED = LearnFromRuns(learning_id="forged", domain="general")
OpenAs = Callable[..., Awaitable[Bus]]


@pytest.fixture
async def open_as(broker: GuardedBroker) -> AsyncIterator[OpenAs]:
    """`await open_as("learner")`: a bus of that service with its own key; `key_of` gives it another's."""
    opened: list[Bus] = []

    async def open_one(role: str, key_of: str = "") -> Bus:
        bus = await Bus.connect(broker.settings(role, key_of=key_of), service=role)
        opened.append(bus)
        return bus

    admin = await open_one(ADMIN)
    for stream in ("CMD", "EVT", "DLQ"):
        await admin.jetstream.purge_stream(stream)
    yield open_one
    for bus in opened:
        await bus.close()


@asynccontextmanager
async def learning(broker: GuardedBroker, bus: Bus) -> AsyncIterator[list[str]]:
    """The learner's consumer of `cmd.learner.learn`; yields the ids that its handler saw."""
    seen: list[str] = []

    async def handle(command: LearnFromRuns, _: Delivery) -> None:
        seen.append(command.learning_id)

    consumer = Consumer(bus, broker.settings("learner"))
    consumer.on(LearnFromRuns, handle, durable="learner-learn")
    await consumer.start()
    yield seen
    await consumer.stop()


async def stored(admin: Bus, stream: str, subject: str) -> int:
    state = (await admin.jetstream.stream_info(stream, subjects_filter=">")).state
    return int((state.subjects or {}).get(subject, 0))


async def test_a_denied_publish_or_question_says_so_at_once(open_as: OpenAs) -> None:
    executor = await open_as("executor")
    told = {"rollback_id": "r", "pipeline": "p", "from_digest": "a", "to_digest": "b", "quarantined": (), "generation": 2}
    verdict = PipelineRolledBack.model_validate({**told, "reason": "forged", "author": "executor"})
    with pytest.raises(DeniedError, match=r"user 'executor' may not publish evt\.pipeline\.rolled_back.*topology\.py"):
        await executor.publish(verdict, cause="c")
    with pytest.raises(DeniedError, match=r"'executor' may not publish api\.guardrail\.get_dataset"):
        await executor.ask(GetDataset(dataset_id="d"))
    assert await stored(await open_as(ADMIN), "EVT", PipelineRolledBack.subject) == 0
    await executor.check()  # the connection is as good as before


async def test_a_service_that_follows_nothing_may_not_and_learns_so_at_once(open_as: OpenAs) -> None:
    with pytest.raises(DeniedError, match=r"'analytics' may not publish \$JS\.API\.STREAM\.INFO\.EVT"):
        async with (await open_as("analytics")).follow(PatternsMined):
            pass


async def test_a_service_with_anothers_credentials_does_not_start(broker: GuardedBroker, open_as: OpenAs) -> None:
    bus = await open_as("learner", key_of="analytics")
    consumer = Consumer(bus, broker.settings("learner", key_of="analytics"))

    async def never(_: Any, __: Delivery) -> None:
        raise AssertionError("it may not consume")

    consumer.on(LearnFromRuns, never, durable="learner-learn")
    with pytest.raises(ConfigurationError, match=r"service learner: user 'analytics' may not .*learner-learn"):
        await consumer.start()
    await consumer.stop()


async def test_a_whole_service_with_anothers_credentials_does_not_start(broker: GuardedBroker, mongo_url: str) -> None:
    settings = broker.settings("learner", key_of="evolution").model_copy(update={"mongo_url": SecretStr(mongo_url)})
    with pytest.raises(ConfigurationError, match=r"service learner: user 'evolution' may not .*learner-"):
        await learner_app(settings).start()


async def test_a_key_is_replaced_while_its_user_works_and_what_runs_takes_the_new_one(
    broker: GuardedBroker, open_as: OpenAs
) -> None:
    old, other = await open_as(CLIENT), await open_as("executor")
    before = broker.settings(CLIENT).nats_seed_file
    assert before is not None
    kept = before.with_name("kept.nk")
    kept.write_bytes(before.read_bytes())
    former = broker.settings(CLIENT).model_copy(update={"nats_seed_file": kept})
    broker.secrets.rotate(CLIENT)
    broker.read_users_again()
    await eventually(lambda: enters(broker.settings(CLIENT)))
    assert await enters(former)
    for bus in (old, other):
        await bus.check()
    assert old.client.stats["reconnects"] == other.client.stats["reconnects"] == 0
    assert broker.secrets.finish_rotation(CLIENT)
    broker.read_users_again()
    await eventually(lambda: old.client.stats["reconnects"] > 0 and old.client.is_connected)
    assert not await enters(former)
    assert await enters(broker.settings(CLIENT)) and other.client.stats["reconnects"] == 0
    await old.publish(LearnFromRuns(learning_id="later", domain="general"), cause="with the new key")


async def test_a_service_consumes_on_after_its_key_was_replaced(broker: GuardedBroker, open_as: OpenAs) -> None:
    """Its consumer is refused with the old key once, then comes back with the new one, as its bus does."""
    bus, admin = await open_as("learner"), await open_as(ADMIN)
    async with learning(broker, bus) as seen:
        broker.secrets.rotate("learner")
        broker.read_users_again()
        await eventually(lambda: enters(broker.settings("learner")))
        assert broker.secrets.finish_rotation("learner")
        broker.read_users_again()
        await eventually(lambda: bus.client.stats["reconnects"] > 0 and bus.client.is_connected)
        await admin.publish(LearnFromRuns(learning_id="later", domain="general"), cause="to a consumer with a new key")
        await eventually(lambda: seen == ["later"])


async def enters(settings: SharedSettings) -> bool:
    try:
        await (await Bus.connect(settings, service="test")).close()
    except ConfigurationError:
        return False
    return True


async def test_answering_for_another_service_is_refused_at_the_start(broker: GuardedBroker, open_as: OpenAs) -> None:
    consumer = Consumer(await open_as("learner", key_of="analytics"), broker.settings("learner", key_of="analytics"))

    async def knowledge(_: GetKnowledge) -> dict[str, object]:
        return {"forged": True}

    consumer.answers(GetKnowledge, knowledge)
    with pytest.raises(ConfigurationError, match=r"'analytics' may not subscribe to api\.learner\.knowledge"):
        await consumer.start()
    await consumer.stop()


async def test_queries_are_answered_across_users_and_only_into_the_askers_box(broker: GuardedBroker, open_as: OpenAs) -> None:
    consumer = Consumer(await open_as("learner"), broker.settings("learner"))
    asked: list[Query] = []

    async def knowledge(query: GetKnowledge) -> dict[str, object]:
        asked.append(query)
        return {"patterns": []}

    consumer.answers(GetKnowledge, knowledge)
    await consumer.start()
    client, admin = await open_as(CLIENT), await open_as(ADMIN)
    # Asked so that the learner itself would publish its answer where the client may not.
    await client.client.publish(GetKnowledge.subject, b"{}", reply=PatternsMined.subject)
    await client.client.flush()
    assert await client.ask(GetKnowledge()) == {"patterns": []}
    assert len(asked) == 1 and await stored(admin, "EVT", PatternsMined.subject) == 0
    await consumer.stop()


@pytest.mark.parametrize("place", ["timer.executor.mine", "cmd.executor.execute"])
async def test_a_schedule_cannot_have_the_broker_say_what_its_author_may_not(
    broker: GuardedBroker, open_as: OpenAs, place: str
) -> None:
    executor, learner, client = await open_as("executor"), await open_as("learner"), await open_as(CLIENT)
    fields = {headers.SCHEDULE: "@at 2020-01-01T00:00:00Z", headers.SCHEDULE_TARGET: FORGED.subject}
    async with learning(broker, learner) as seen:
        await executor.jetstream.publish(place, FORGED.model_dump_json().encode(), headers=fields)
        admin = await open_as(ADMIN)
        await eventually(lambda: has_letters(admin, 1))
        await client.publish(LearnFromRuns(learning_id="real", domain="general"), cause=place)
        await eventually(lambda: seen == ["real"])
        letter = (await list_dead_letters(admin))[0]
        assert letter.code == "invalid_input" and place in letter.error
        # Sent back, it is refused again: what its author was stays with it.
        await redrive(admin, letter.sequence)
        await eventually(lambda: has_letters(admin, 1))
        assert seen == ["real"]


async def has_letters(admin: Bus, count: int) -> bool:
    return len(await list_dead_letters(admin)) == count


async def test_the_broker_lets_nobody_set_the_mark_of_its_schedules(open_as: OpenAs) -> None:
    client = await open_as(CLIENT)
    with pytest.raises(nats.js.errors.BadRequestError):
        await client.jetstream.publish(FORGED.subject, b"{}", headers={headers.SCHEDULER: "timer.learner.one"})


async def test_a_letter_goes_back_to_the_subject_it_is_kept_under_whatever_it_says(open_as: OpenAs) -> None:
    executor, admin = await open_as("executor"), await open_as(ADMIN)
    fields = {headers.MESSAGE_ID: derive_id("letter", "forged"), headers.DEAD_SUBJECT: RollbackPipeline.subject}
    await executor.store("dlq.cmd.executor.execute", b"{}", fields)
    assert await redrive(admin) == 1
    assert await stored(admin, "CMD", RollbackPipeline.subject) == 0
    assert await stored(admin, "CMD", "cmd.executor.execute") == 1


async def test_a_pull_into_anothers_subject_keeps_its_own_subject(broker: GuardedBroker, open_as: OpenAs) -> None:
    executor, admin = await open_as("executor"), await open_as(ADMIN)
    consumer = Consumer(await open_as("learner"), broker.settings("learner"))
    asked: list[Query] = []

    async def knowledge(query: GetKnowledge) -> dict[str, object]:
        asked.append(query)
        return {}

    consumer.answers(GetKnowledge, knowledge)
    await consumer.start()
    for target in (FORGED.subject, PatternsMined.subject, GetKnowledge.subject):
        await executor.jetstream.publish("cmd.executor.execute", b"{}")
        body = json.dumps({"batch": 1, "expires": 1_000_000_000}).encode()
        await executor.client.publish("$JS.API.CONSUMER.MSG.NEXT.CMD.executor-execute", body, reply=target)
        await executor.client.flush()
    await asyncio.sleep(0)
    await (await open_as(CLIENT)).ask(GetKnowledge())
    assert len(asked) == 1
    assert await stored(admin, "CMD", FORGED.subject) == 0
    assert [await forged_facts(admin)] == [0]
    await consumer.stop()


async def forged_facts(admin: Bus) -> int:
    return await stored(admin, "EVT", PatternsMined.subject)


async def test_a_followers_consumer_cannot_deliver_facts_as_commands(open_as: OpenAs) -> None:
    executor, client, admin = await open_as("executor"), await open_as(CLIENT), await open_as(ADMIN)
    await executor.jetstream.publish("evt.run.finished", FORGED.model_dump_json().encode())
    config = api.ConsumerConfig(deliver_subject=FORGED.subject, ack_policy=api.AckPolicy.NONE, filter_subject="evt.run.finished")
    await executor.jetstream.add_consumer("FACTS", config)
    await client.publish(LearnFromRuns(learning_id="real", domain="general"), cause="real-2")
    assert await stored(admin, "CMD", FORGED.subject) == 1


TAKE_OVERS = (
    "$JS.API.CONSUMER.CREATE.EVT",
    "$JS.API.CONSUMER.CREATE.EVT.analytics-run-finished",
    "$JS.API.CONSUMER.CREATE.EVT.analytics-run-finished.evt.run.finished",
    "$JS.API.CONSUMER.DURABLE.CREATE.EVT.analytics-run-finished",
    "$JS.API.CONSUMER.CREATE.FACTS",
)


@pytest.mark.parametrize("subject", TAKE_OVERS)
async def test_nobody_takes_over_anothers_durable_by_making_one_of_its_name(open_as: OpenAs, subject: str) -> None:
    executor, admin = await open_as("executor"), await open_as(ADMIN)
    before = (await admin.jetstream.consumer_info("EVT", "analytics-run-finished")).config
    config = api.ConsumerConfig(name="analytics-run-finished", max_deliver=1, filter_subject="evt.run.finished")
    body = json.dumps({"stream_name": subject.split(".")[4], "config": config.as_dict()}).encode()
    with contextlib.suppress(DeniedError), executor.denials.watched(subject):
        await executor.client.request(subject, body)
    assert (await admin.jetstream.consumer_info("EVT", "analytics-run-finished")).config == before
    assert before.durable_name == "analytics-run-finished" and before.max_deliver > 1


async def test_a_value_of_the_bucket_cannot_be_read_into_anothers_subject(open_as: OpenAs) -> None:
    executor, admin = await open_as("executor"), await open_as(ADMIN)
    await executor.jetstream.publish("$KV.limits.forged", FORGED.model_dump_json().encode())
    assert not (await admin.jetstream.stream_info("KV_limits")).config.allow_direct
    subject = "$JS.API.DIRECT.GET.KV_limits.$KV.limits.forged"
    with pytest.raises(DeniedError), executor.denials.watched(subject):
        await executor.client.request(subject, b"")
    assert await stored(admin, "CMD", FORGED.subject) == 0


async def _heard(message: Msg) -> None:
    raise AssertionError(f"it heard {message.subject}")


async def test_nobody_hears_what_another_is_answered(open_as: OpenAs) -> None:
    executor = await open_as("executor")
    for box in ("_INBOX.>", "_INBOX.guardrail.>", "_INBOX.client.*"):
        await executor.client.subscribe(box, cb=_heard)
    await executor.client.flush()
    await executor.client.flush()
    assert set(executor.denials.subscriptions) == {"_inbox.>", "_inbox.guardrail.>", "_inbox.client.*"}
