"""Whatever is sent to it, an executor reads on: what cannot be handled ends in the dead letters with a reason."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import nats.errors
import nats.js.errors
import pytest

from shared.events import Command, Message, catalogue
from shared.events.operations import CommandRefused
from shared.events.runs import ExecuteRun, FinishedRuns
from shared.messaging import codec
from shared.messaging.bus import Bus
from shared.messaging.catalogue.examples import example_of
from shared.messaging.dead_letters import list_dead_letters
from shared.messaging.fleet import Fleet
from shared.messaging.handling import Delivery
from shared.messaging.topology import MAX_MESSAGE_BYTES, Durable, durables
from shared.storage import MongoStore
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.executor import Notary
from tests.fakes.language_model import ScriptedModel
from tests.fuzzing import Fuzzer, Hostile, RawSender, raw_sender
from tests.integration.executors import StartExecutor
from tests.messaging import consuming, queue_state

pytestmark = pytest.mark.usefixtures("empty_streams")

SEED = 20_261_123
MESSAGES, BATCH = 10_000, 500
SUBJECTS = [message for message in catalogue() if issubclass(message, Command) and message.owner == "executor"]
ASKING: dict[str, Any] = {
    "name": "asking",
    "inputs": {"word": "string"},
    "steps": [{"name": "ask", "type": "claude", "prompt": "{{ word }}?"}],
}


def mixed(fuzzers: Sequence[Fuzzer], count: int) -> list[Hostile]:
    """Each kind of each class first, then what the seed gives."""
    return list(itertools.islice(itertools.chain.from_iterable(zip(*fuzzers, strict=True)), count))


async def send_paced(sender: RawSender, bus: Bus, hostile: Sequence[Hostile]) -> None:
    """The broker drops what it has no room to keep while it waits for the disk, so no more than it keeps is sent at once."""
    before = (await bus.jetstream.stream_info("CMD")).state.last_seq
    await sender.send([each.frame() for each in hostile])

    async def all_stored() -> bool:
        return (await bus.jetstream.stream_info("CMD")).state.last_seq >= before + len(hostile)

    await eventually(all_stored)


def fingerprint(subject: str, body: bytes) -> str:
    return hashlib.sha256(subject.encode() + b"\x00" + body).hexdigest()


async def test_ten_thousand_hostile_messages_end_in_the_dead_letters_and_runs_go_on(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary, nats_url: str
) -> None:
    await start_executor(ScriptedModel())
    bus = await open_bus("cli")
    fleet = Fleet(bus)
    assert await nothing_waits(bus)
    tasks_before = asyncio.all_tasks()
    hostile = mixed([Fuzzer(message, SEED) for message in SUBJECTS], MESSAGES)
    good = []
    async with raw_sender(nats_url) as sender:
        for start in range(0, MESSAGES, BATCH):
            order = ExecuteRun(
                run_id=f"good-{start}", document=ASKING, inputs={"word": "hi"}, purpose="trial", scope=notary.grant()
            )
            good.append(asyncio.ensure_future(fleet.run_all([order], max_in_flight=1, deadline_seconds=60)))
            await send_paced(sender, bus, hostile[start : start + BATCH])
    ends = [end for run in await asyncio.gather(*good) for end in run.values()]
    assert Counter(end.status for end in ends) == {"succeeded": MESSAGES // BATCH}
    await eventually(lambda: nothing_waits(bus), timeout_seconds=60)
    letters = await list_dead_letters(bus, limit=2 * MESSAGES)
    sent = Counter(fingerprint(each.subject, each.body) for each in hostile)
    assert Counter(fingerprint(letter.subject, letter.payload) for letter in letters) == sent
    assert Counter((letter.code, letter.attempts) for letter in letters) == {("invalid_input", 1): MESSAGES}
    assert not [letter for letter in letters if not letter.error or not letter.durable or letter.service != "executor"]
    refused = await bus.jetstream.stream_info("EVT", subjects_filter=CommandRefused.subject)
    assert (refused.state.subjects or {})[CommandRefused.subject] == MESSAGES
    await eventually(lambda: no_more_tasks(tasks_before))


def no_more_tasks(before: set[asyncio.Task[Any]]) -> bool:
    assert len(asyncio.all_tasks()) <= len(before), asyncio.all_tasks() - before
    return True


async def nothing_waits(bus: Bus) -> bool:
    names = [row.name for row in durables() if row.service == "executor" and row.stream == "CMD"]
    return {await queue_state(bus, name) for name in names} == {(0, 0)}


ORDER: dict[str, Any] = {"document": ASKING, "inputs": {"word": "hi"}, "purpose": "trial"}
ODD_ORDERS: list[dict[str, Any]] = [
    {**ORDER, "scope": None},
    {"pipeline": "nowhere"},
    {"pipeline": "nowhere@" + "f" * 64},
    {},
    {**ORDER, "pipeline": "asking", "document": {}},
    {**ORDER, "document": {}},
    {**ORDER, "document": {"name": "x", "steps": []}},
    {**ORDER, "document": {"name": "x" * 10_000, "steps": "none", "limits": {"seconds": "long"}}},
    {**ORDER, "document": {**ASKING, "steps": ASKING["steps"] * 300}},
    {**ORDER, "document": {**ASKING, "limits": {"seconds": 1e308, "steps": -1}}},
    {**ORDER, "document": {**ASKING, "inputs": {"word": {"$ref": "http://example.test/schema"}}}},
    {**ORDER, "inputs": {}},
    {**ORDER, "inputs": {"word": 7}},
    {**ORDER, "inputs": {"word": {"$where": "1", "a.b": None, "": []}}},
    {**ORDER, "limits": {"bogus": 1}},
    {**ORDER, "limits": {"seconds": -5}},
    {**ORDER, "limits": {"seconds": 0}},
    {**ORDER, "limits": {"concurrency": 0}},
    {**ORDER, "limits": {"concurrency": -3}},
    {**ORDER, "limits": {"memory_mb": -1e308}},
    {**ORDER, "pools": ["no-such-pool"]},
    {**ORDER, "limits": {"calls": 0, "tokens": -1e300}},
    {**ORDER, "deadline_at": "yesterday"},
    {**ORDER, "deadline_at": "2001-01-01T00:00:00Z"},
    {**ORDER, "continuation": {"generation": 3, "verb": "resume"}},
]
"""Bodies that are right as messages and wrong in what they ask for."""


async def test_orders_that_ask_for_the_impossible_end_once_and_leave_nothing_behind(
    start_executor: StartExecutor, open_bus: OpenBus, store: MongoStore, notary: Notary
) -> None:
    model = ScriptedModel()
    await start_executor(model)
    bus = await open_bus("cli")
    scope = notary.grant().model_dump(mode="json")
    bodies = [{"run_id": f"odd-{n}", "scope": scope, **fields} for n, fields in enumerate(ODD_ORDERS)]
    bodies += [{"run_id": f"unknown-{verb}", "subject": f"cmd.executor.{verb}"} for verb in ("cancel", "pause", "resume", "retry")]
    bodies.append({"run_id": "unknown-fork", "new_run_id": "fork-1", "subject": "cmd.executor.fork"})
    for body in bodies:
        subject = body.pop("subject", ExecuteRun.subject)
        await bus.jetstream.publish(subject, json.dumps(body).encode())
    await eventually(lambda: nothing_waits(bus), timeout_seconds=30)
    ended = await bus.ask(FinishedRuns(run_ids=tuple(f"odd-{n}" for n in range(len(ODD_ORDERS)))))
    statuses = {run["run_id"]: run["status"] for run in ended["runs"]}
    letters = {json.loads(letter.payload)["run_id"]: letter for letter in await list_dead_letters(bus)}
    assert [run_id for run_id, status in statuses.items() if status not in ("refused", "failed")] == []
    unanswered = {f"odd-{n}" for n in range(len(ODD_ORDERS))} - statuses.keys() - letters.keys()
    assert unanswered == set()
    assert {letter.code for letter in letters.values()} <= {"invalid_input", "not_found"}
    assert model.requests == []
    assert await store.database("evoline_executor").collection("runs").count({"status": "running"}) == 0


async def test_what_no_stream_takes_is_refused_to_its_sender_and_not_stored(open_bus: OpenBus) -> None:
    bus = await open_bus("cli")
    before = (await bus.jetstream.stream_info("CMD")).state.last_seq
    with pytest.raises(nats.js.errors.APIError, match="message size exceeds maximum allowed"):
        await bus.jetstream.publish(ExecuteRun.subject, b"x" * (MAX_MESSAGE_BYTES + 1))
    with pytest.raises(nats.errors.MaxPayloadError):
        await bus.jetstream.publish(ExecuteRun.subject, b"x" * (2 * MAX_MESSAGE_BYTES))
    assert (await bus.jetstream.stream_info("CMD")).state.last_seq == before


async def test_the_largest_messages_that_a_stream_takes_are_dead_lettered_too(
    start_executor: StartExecutor, open_bus: OpenBus, notary: Notary, store: MongoStore
) -> None:
    await start_executor(ScriptedModel())
    bus = await open_bus("cli")
    room = MAX_MESSAGE_BYTES - 2_000
    largest = [b"x" * room, b'{"run_id": "' + b"y" * (room - 20) + b'"}', b'{"scope": [' + b"1," * (room // 2 - 20) + b"1]}"]
    for body in largest:
        await bus.jetstream.publish(ExecuteRun.subject, body)
    await bus.jetstream.publish(ExecuteRun.subject, b"{", headers={"Nats-Msg-Id": "i" * 60_000})
    await bus.jetstream.publish(ExecuteRun.subject, b"{", headers={f"key-{n}": "v" * 900 for n in range(65)})
    await eventually(lambda: nothing_waits(bus), timeout_seconds=30)
    letters = await list_dead_letters(bus)
    assert sorted(len(letter.payload) for letter in letters) == sorted([*map(len, largest), 1, 1])


@pytest.mark.parametrize("row", durables(), ids=lambda row: row.name)
async def test_every_durable_of_every_service_puts_hostile_messages_aside(open_bus: OpenBus, nats_url: str, row: Durable) -> None:
    """All services consume through the same module; here with a handler that must never be called."""
    message = next(each for each in catalogue() if each.subject == row.filter_subject)
    bus = await open_bus(row.service)
    handled: list[Message] = []

    async def handle(body: Message, delivery: Delivery) -> None:
        handled.append(body)

    hostile = mixed([Fuzzer(message, f"{SEED}:{row.name}")], 64)
    async with consuming(bus, nats_url, lambda consumer: consumer.on(message, handle, durable=row.name)):
        async with raw_sender(nats_url) as sender:
            await sender.send([each.frame() for each in hostile])
        good = codec.decode(message, json.dumps(example_of(message)).encode())
        await bus.publish(good, cause=f"good-{row.name}")
        await eventually(lambda: len(handled) == 1)
        await eventually(lambda: settled(bus, row, len(hostile)), timeout_seconds=20)
    assert handled == [good]


async def settled(bus: Bus, row: Durable, expected: int) -> bool:
    letters = [letter for letter in await list_dead_letters(bus, limit=1000) if letter.durable == row.name]
    assert (len(letters), await queue_state(bus, row.name, row.stream)) == (expected, (0, 0))
    return True
