"""Questions that give something away, on a real broker: who asks is proved, and a copy of a question brings its sender nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.guardrail.app import create_app
from services.guardrail.settings import GuardrailSettings
from shared.attestation import create_key_pair
from shared.errors import NotAuthorizedError
from shared.events import Command, Fact
from shared.events.changes import GrantScope
from shared.events.datasets import MeasurePipelines
from shared.events.operations import CommandRefused
from shared.events.quotas import CloseScope, LeaseQuota, ListReservations, ReportUse, Spent
from shared.events.rollouts import ReportOutcome
from shared.events.values import Budget
from shared.messaging import codec, envelope
from shared.messaging.bus import Bus
from shared.settings import SharedSettings
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.fakes.guardrail import dataset
from tests.fakes.people import signer, written_registry

pytestmark = pytest.mark.usefixtures("empty_streams")
PIPELINES = Path(__file__).parents[2] / "pipelines"
USE = ReportUse(report_id="r1", day="2026-11-22", leases={"l1": Spent()})
LEASE = LeaseQuota(lease_id="l1", holder="executor-1", pipeline="triage", domain="support", per_run=Spent(runs=1))


@pytest.fixture
async def bus(open_bus: OpenBus, nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[Bus]:
    """With a guardrail behind it."""
    store = connect(SecretStr(mongo_url))
    for name in ("evoline_guardrail", "evoline_sealed"):
        await store.drop_database(name)
    store.close()
    keys = create_key_pair(tmp_path / "keys")
    settings = SharedSettings(
        nats_url=nats_url,
        mongo_url=SecretStr(mongo_url),
        pipelines_dir=PIPELINES,
        guardrail_public_key_file=keys.public,
        identities_file=written_registry(tmp_path / "keys"),
    )
    app = create_app(settings, GuardrailSettings(private_key_file=keys.private))
    await app.start()
    yield await open_bus("test")
    await app.stop()


def wish(scope_id: str, holder: str = "evolution") -> GrantScope:
    budget = Budget(runs=10, calls=20, tokens=50_000, cost_usd=0.25)
    return GrantScope(scope_id=scope_id, purpose="evolution", holder=holder, domain="support", budget=budget)


async def refusal(bus: Bus, name: str, question: Any) -> str:
    with pytest.raises(NotAuthorizedError) as refused:
        await bus.signed_by(signer(name) if name else None).ask(question)
    return str(refused.value)


async def reserved(bus: Bus) -> list[str]:
    return [each["reservation_id"] for each in (await bus.ask(ListReservations()))["reservations"]]


async def test_only_services_that_search_are_given_scopes_and_only_in_their_own_name(bus: Bus) -> None:
    assert "not signed" in await refusal(bus, "", wish("s1"))
    assert "no service but a person" in await refusal(bus, "alice", wish("s1", "alice"))
    assert "one of the services" in await refusal(bus, "analytics", wish("s1", "analytics"))
    assert "set `holder` to generator" in await refusal(bus, "generator", wish("s1"))
    assert await reserved(bus) == []
    assert (await bus.signed_by(signer("evolution")).ask(wish("s1")))["scope"]["holder"] == "evolution"
    assert await reserved(bus) == ["s1"]


async def test_only_executors_lease_quotas_and_tell_what_was_used(bus: Bus) -> None:
    reasons = {"": "not signed", "alice": "no service but a person", "evolution": "one of the services executor"}
    for question in (LEASE, USE):
        for name, reason in reasons.items():
            assert reason in await refusal(bus, name, question)
    assert await reserved(bus) == []
    executor = bus.signed_by(signer("executor"))
    assert (await executor.ask(LEASE))["lease_id"] == "l1"
    assert (await executor.ask(USE))["settled"] == ["l1"]


async def test_a_copy_of_a_signed_question_is_answered_to_whoever_signed_it_or_not_at_all(bus: Bus) -> None:
    """On another answer's subject, with another body, or too late it is nobody's question."""
    subject, by, now = GrantScope.subject, signer("evolution"), bus.parts.clock.now()
    body, inbox = codec.encode(wish("s1")), bus.client.new_inbox()
    fields = by.sign(subject, inbox, body, now)

    async def sent(reply: str, content: bytes, headers: dict[str, str]) -> dict[str, Any]:
        box = await bus.client.subscribe(reply)
        await bus.client.publish(subject, content, reply=reply, headers=headers)
        answer = envelope.open_answer((await box.next_msg(timeout=5)).data)
        await box.unsubscribe()
        return answer

    other = bus.client.new_inbox()
    late = by.sign(subject, other, body, now - timedelta(minutes=3))
    early = by.sign(subject, other, body, now + timedelta(minutes=3))
    larger = codec.encode(wish("s2"))
    for reply, content, headers in ((other, body, fields), (inbox, larger, fields), (other, body, late), (other, body, early)):
        with pytest.raises(NotAuthorizedError, match=r"not one by evolution|minutes before|in the future"):
            await sent(reply, content, headers)
    assert await reserved(bus) == []
    assert await sent(inbox, body, fields) == await sent(inbox, body, fields)
    assert await reserved(bus) == ["s1"]


async def test_commands_that_were_taken_from_anybody_are_to_be_signed_by_who_may(bus: Bus) -> None:
    measure = MeasurePipelines(measure_id="m1", dataset_id="tweets", pipelines={"a": "triage"}, cases=3, author="alice")
    outcome = ReportOutcome(run_id="r1", score=1.0, author="generator")
    attempts: list[tuple[str, Command, str]] = [
        ("", dataset(), "not signed"),
        ("", measure, "not signed"),
        ("bob", dataset(), "set `author` to bob"),
        ("generator", outcome, "takes the role admin or operator or reporter or reviewer"),
        ("alice", CloseScope(scope_id="s1", author="alice"), "no service but a person"),
    ]
    for name, command, reason in attempts:
        assert reason in await _refused(bus.signed_by(signer(name) if name else None), command)


async def _refused(bus: Bus, command: Command) -> str:
    async with asyncio.timeout(10), bus.follow(CommandRefused) as stream:
        await bus.publish(command, cause=uuid.uuid4().hex)
        fact: Fact = (await anext(stream))[0]
    assert isinstance(fact, CommandRefused) and fact.code == "not_authorized"
    return str(fact.problems[0].reason)
