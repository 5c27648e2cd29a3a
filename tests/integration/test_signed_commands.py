"""Signatures on a real broker: what plain clients send, what others make of it, and what the guardrail lets in."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.guardrail.app import create_app
from services.guardrail.settings import GuardrailSettings
from shared.attestation import create_key_pair
from shared.events import Command, Fact
from shared.events.changes import ChangeApproved, ChangeQueued, DecideReview, ListReviews, ReviewRefused
from shared.events.deployments import RollbackPipeline
from shared.events.improvement import LearnFromRuns
from shared.events.operations import CommandRefused
from shared.events.oversight import GlassBroken, IdentitiesChanged
from shared.identity import revoke_identity
from shared.identity.signing import SIGNATURE, SIGNER
from shared.messaging.consumer import Consumer, Delivery
from shared.messaging.dead_letters import redrive
from shared.messaging.handling import Effects
from shared.settings import SharedSettings
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.people import key_file, signer, written_registry
from tests.integration.commands import Command as RunCommand
from tests.messaging import DURABLE, learn

pytestmark = pytest.mark.usefixtures("empty_streams")
ROOT = Path(__file__).parents[2]
Signed = Callable[[str, str, str, dict[str, Any]], tuple[bytes, dict[str, str]]]


@pytest.fixture
def signed() -> Signed:
    """The example that `docs/identities.md` gives to plain clients."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "identities.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    function: Signed = names["signed"]
    return function


@pytest.fixture
async def guardrail(nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[Path]:
    """A running guardrail; the file of its registry."""
    store = connect(SecretStr(mongo_url))
    for name in ("evoline_guardrail", "evoline_sealed"):
        await store.drop_database(name)
    store.close()
    keys, registry = create_key_pair(tmp_path / "keys"), written_registry(tmp_path / "keys")
    settings = SharedSettings(
        nats_url=nats_url,
        mongo_url=SecretStr(mongo_url),
        pipelines_dir=ROOT / "pipelines",
        guardrail_public_key_file=keys.public,
        identities_file=registry,
    )
    app = create_app(settings, GuardrailSettings(private_key_file=keys.private, expiry_interval_seconds=0.2))
    await app.start()
    yield registry
    await app.stop()


async def test_what_plain_clients_and_forgers_send_to_the_guardrail(
    guardrail: Path, open_bus: OpenBus, signed: Signed, tmp_path: Path
) -> None:
    bus = await open_bus("test")
    heard: list[Fact] = []
    async with bus.follow(ChangeApproved, ChangeQueued, ReviewRefused, CommandRefused, IdentitiesChanged) as stream:

        async def answer(wanted: Callable[[Any], bool]) -> Any:
            """The first fact that is wanted, of those told since the last one asked for."""
            async for fact, _ in stream:
                heard.append(fact)
                if wanted(fact):
                    return fact
            raise AssertionError("the bus closed")

        async def refusal(message_id: str) -> str:
            fact = await answer(lambda each: isinstance(each, CommandRefused) and each.message_id == message_id)
            assert fact.code == "not_authorized"
            return str(fact.problems[0].reason)

        async def attempt(body: bytes, headers: dict[str, str], subject: str = DecideReview.subject) -> str:
            await bus.jetstream.publish(subject, body, headers=headers)
            return await refusal(headers["Nats-Msg-Id"])

        await bus.signed_by(signer("generator")).publish(proposal(pipeline(), "c1"), cause=uuid.uuid4().hex)
        await answer(lambda each: isinstance(each, ChangeApproved) and each.change_id == "c1")
        unsigned = proposal(pipeline("Name: {{ text }}"), "c2")
        await bus.jetstream.publish(unsigned.subject, unsigned.model_dump_json().encode())
        queued = await answer(lambda each: isinstance(each, ChangeQueued) and each.change_id == "c2")
        assert any("nobody answers for it" in reason for reason in queued.reasons)

        vote = {"change_id": "c2", "decision": "approve", "reviewer": "alice", "digest": queued.digest}
        key = str(key_file(tmp_path / "people", "alice"))
        body, headers = signed("alice", key, DecideReview.subject, vote)
        assert "not signed" in await attempt(body, {"Nats-Msg-Id": uuid.uuid4().hex})
        assert "not one by alice" in await attempt(body, {**headers, "Nats-Msg-Id": uuid.uuid4().hex})
        assert "not one by bob" in await attempt(body, {**headers, SIGNER: "bob", "Nats-Msg-Id": uuid.uuid4().hex})
        assert "not one by alice" in await attempt(body.replace(b'"c2"', b'"c1"'), headers)
        rollback = RollbackPipeline(rollback_id="r1", pipeline="triage", reason="x", author="alice")
        order = rollback.model_dump_json().encode()
        assert "not one by alice" in await attempt(order, {**headers, "Nats-Msg-Id": uuid.uuid4().hex}, rollback.subject)
        assert "not signed" in await attempt(order, {"Nats-Msg-Id": "r1"}, rollback.subject)

        comment = {**vote, "decision": "comment", "comment": "hm", "reviewer": "dora"}
        revoke_identity(guardrail, "dora", bus.parts.clock.now())
        changed = await answer(lambda each: isinstance(each, IdentitiesChanged) and each.before_sha256 != "")
        assert changed.changes[0].startswith("dora revoked")
        assert "revoked" in await attempt(
            *signed("dora", str(key_file(tmp_path / "people", "dora")), DecideReview.subject, comment)
        )

        body, headers = signed("alice", key, DecideReview.subject, vote)
        await bus.jetstream.publish(DecideReview.subject, body, headers=headers)
        approved = await answer(lambda each: isinstance(each, ChangeApproved) and each.change_id == "c2")
        assert approved.approved_by == "review:alice"
    assert not [each for each in heard if isinstance(each, ChangeApproved) and each.change_id == "c2" and each is not approved]


async def test_a_handler_learns_who_signed_and_a_redriven_message_keeps_its_signature(
    open_bus: OpenBus, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LearnFromRuns, "signed", True)
    bus, seen = await open_bus("learner"), list[tuple[str, str]]()

    async def on_learn(command: LearnFromRuns, delivery: Delivery) -> Effects:
        seen.append((delivery.signer, delivery.signature.fault))
        if len(seen) == 1:
            raise ValueError("a fault that people mend")
        return None

    settings = SharedSettings(nats_url=nats_url, identities_file=written_registry(tmp_path))
    consumer = Consumer(bus, settings)
    consumer.on(LearnFromRuns, on_learn, durable=DURABLE, max_attempts=1)
    await consumer.start()
    try:
        await bus.signed_by(signer("alice")).publish(learn(), cause=uuid.uuid4().hex)
        await eventually(lambda: seen == [("alice", "")])

        async def sent_back() -> bool:
            return await redrive(bus) == 1

        await eventually(sent_back)
        await eventually(lambda: seen == [("alice", ""), ("alice", "")])
        await bus.publish(learn(), cause=uuid.uuid4().hex)
        await eventually(lambda: seen[2:] == [("", "it is not signed")])
    finally:
        await consumer.stop(grace_seconds=0.1)


async def test_only_messages_that_are_to_be_signed_carry_a_signature(open_bus: OpenBus) -> None:
    bus = (await open_bus("test")).signed_by(signer("alice"))
    commands: list[Command] = [learn(), proposal(pipeline(), "c9", author="alice")]
    for each in commands:
        await bus.publish(each, cause=uuid.uuid4().hex)
    first, second = [await bus.jetstream.get_last_msg("CMD", each.subject) for each in commands]
    assert SIGNATURE not in (first.headers or {})
    assert (second.headers or {})[SIGNER] == "alice"
    assert json.loads(second.data or b"")["author"] == "alice"


@pytest.mark.timeout(240)
async def test_people_work_through_the_queue_by_the_command_line(
    guardrail: Path, open_bus: OpenBus, command: RunCommand, tmp_path: Path
) -> None:
    for name in ("alice", "bob"):
        key_file(tmp_path / "home" / "keys" / "identities", name)
    bus = (await open_bus("test")).signed_by(signer("alice"))
    steps = [{"name": "classify", "type": "gemini", "prompt": "Say: {{ text }}"}]
    async with bus.follow(ChangeApproved, ChangeQueued, GlassBroken) as stream:
        await bus.publish(proposal(pipeline(), "c1", author="alice"), cause=uuid.uuid4().hex)
        await anext(fact async for fact, _ in stream if isinstance(fact, ChangeApproved) and fact.change_id == "c1")
        await bus.publish(proposal(pipeline(steps=steps, limits={"calls": 500}), "c2", author="alice"), cause=uuid.uuid4().hex)
        await anext(fact async for fact, _ in stream if isinstance(fact, ChangeQueued))
        code, shown, _ = await command("review", "show", "c2")
        assert code == 0 and "0 of 2 approvals by people with the role reviewer; 2 missing; never by alice" in shown
        code, _, said = await command("review", "approve", "c2", "--as", "alice")
        assert code == 1 and "an author never approves" in said and "change_id: " not in said
        code, _, said = await command("review", "approve", "c2", "--as", "bob", "--digest", "0000")
        assert code == 1 and "not 0000" in said
        code, answer, _ = await command("review", "approve", "c2", "--as", "bob", "--json")
        assert code == 0 and (answer["verdict"], answer["missing"]) == ("ReviewRecorded", 1)
        code, said, _ = await command("review", "approve", "c2", "--as", "bob")
        assert code == 0 and "bob's approval of exactly this is counted already" in said
        (row,) = (await bus.ask(ListReviews()))["reviews"]
        assert (row["change_id"], row["votes"], row["missing"]) == ("c2", ["bob"], 1)
        code, given, _ = await command("review", "delegate", "carol", "--scope", "domain:support", "--as", "bob", "--json")
        assert code == 0 and (given["delegator"], given["delegate"]) == ("bob", "carol")
        code, _, said = await command("review", "approve", "c2", "--as", "bob", "--break-glass", "--comment", "outage")
        assert code == 0
        broken = await anext(fact async for fact, _ in stream if isinstance(fact, GlassBroken))
        assert (broken.by, broken.reason) == ("bob", "outage")
        code, answer, _ = await command("review", "deny", "c2", "--as", "alice", "--comment", "not the cause", "--json")
        assert code == 0 and answer["verdict"] == "GlassLapsed"


async def test_a_rollback_that_is_typed_twice_goes_back_once(
    guardrail: Path, open_bus: OpenBus, command: RunCommand, tmp_path: Path
) -> None:
    key_file(tmp_path / "home" / "keys" / "identities", "alice")
    bus = (await open_bus("test")).signed_by(signer("alice"))
    digests = []
    async with bus.follow(ChangeApproved) as stream:
        for number, text in enumerate(("Say: {{ text }}", "Name: {{ text }}", "Tell: {{ text }}"), 1):
            await bus.publish(proposal(pipeline(text), f"c{number}", author="alice"), cause=uuid.uuid4().hex)
            fact, _ = await anext(stream)
            digests.append(str(getattr(fact, "digest")))  # noqa: B009  a union of facts
    line = ("rollback", "triage", "--reason", "it insults", "--as", "alice")
    code, first, _ = await command(*line, "--json")
    assert code == 0 and (first["from_digest"], first["to_digest"]) == (digests[2], digests[1])
    code, said, _ = await command(*line)
    assert code == 0 and f"rolled back already: {digests[2][:12]} -> {digests[1][:12]} by alice" in said
    code, again, _ = await command(*line, "--again", "--json")
    assert code == 0 and (again["from_digest"], again["to_digest"]) == (digests[1], digests[0])
