"""Policies over the real bus and the real store: two guardrails follow one activation, from the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from evoline.client.api import Client
from evoline.client.proposals import propose_policy, return_to_policy
from evoline.client.recovery import Recovery
from services.guardrail.adapters.files import DEFAULT_POLICY
from services.guardrail.app import create_app
from services.guardrail.settings import GuardrailSettings
from shared.attestation import create_key_pair
from shared.errors import UnavailableError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed
from shared.events.oversight import ReviewRecorded
from shared.events.policies import GetPolicy
from shared.events.recovery import FreezeSystem
from shared.messaging.bus import Bus
from shared.service import Application
from shared.settings import SharedSettings
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.people import signer, written_registry
from tests.integration.commands import Command

pytestmark = pytest.mark.usefixtures("empty_streams")


@pytest.fixture
async def guardrails(nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[list[Application]]:
    store = connect(SecretStr(mongo_url))
    for name in ("evoline_guardrail", "evoline_sealed"):
        await store.drop_database(name)
    store.close()
    keys = create_key_pair(tmp_path / "keys")
    settings = SharedSettings(
        nats_url=nats_url,
        mongo_url=SecretStr(mongo_url),
        pipelines_dir=tmp_path,
        guardrail_public_key_file=keys.public,
        identities_file=written_registry(tmp_path / "keys"),
    )
    started = []
    for _ in range(2):
        app = create_app(settings, GuardrailSettings(private_key_file=keys.private))
        await app.start()
        started.append(app)
    yield started
    for app in started:
        await app.stop()


def changed(**changes: Any) -> dict[str, Any]:
    return {**yaml.safe_load(DEFAULT_POLICY.read_text(encoding="utf-8")), "version": 9, **changes}


def client(bus: Bus, name: str) -> Client:
    return Client(bus.signed_by(signer(name)), author=name)


async def activate(bus: Bus, document: dict[str, Any]) -> None:
    queued = await propose_policy(client(bus, "alice"), document, "because")
    assert isinstance(queued, ChangeQueued) and queued.risk_class == "critical"
    assert (await bus.ask(GetPolicy()))["version"] != 9
    assert isinstance(await client(bus, "bob").review(queued.change_id, "approve"), ReviewRecorded)
    assert isinstance(await client(bus, "carol").review(queued.change_id, "approve"), ChangeApproved)


@pytest.mark.usefixtures("guardrails")
async def test_a_policy_is_proposed_approved_and_followed_by_every_process(open_bus: OpenBus, command: Command) -> None:
    bus = await open_bus("cli")
    await activate(bus, changed(rules=[{"id": "closed", "effect": "veto", "when": "change.kind != 'policy'", "reason": "closed"}]))
    async with bus.follow(ChangeVetoed) as facts:
        for number in range(8):  # whichever of the two takes it
            late = proposal(pipeline(name=f"late_{number}"), f"late-{number}")
            await bus.signed_by(signer("generator")).publish(late, cause=late.change_id)
        vetoes = [(await anext(facts))[0] for _ in range(8)]
    assert {fact.vetoed_by for fact in vetoes if isinstance(fact, ChangeVetoed)} == {"policy:closed"}
    code, tested, error = await command("policy", "test", str(DEFAULT_POLICY), "--json")
    assert (code, tested["counts"]["veto -> allow"]) == (0, 8), error
    shown = await bus.ask(GetPolicy())
    assert (shown["version"], shown["source"], shown["approved_by"]) == (9, "change", "review:bob,carol")
    assert isinstance(await return_to_policy(client(bus, "alice"), "", "open again"), ChangeQueued)


@pytest.mark.usefixtures("guardrails")
async def test_a_wrong_policy_is_answered_with_its_place(command: Command, tmp_path: Path) -> None:
    rule = {"id": "odd", "effect": "veto", "when": "change.knd == 'revision'", "reason": "because"}
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(changed(rules=[rule])), encoding="utf-8")
    code, said, _ = await command("policy", "validate", str(tmp_path / "odd.yaml"), "--json")
    assert code == 1
    assert "rule odd: `when`" in said["error"]["message"] and "did you mean `change.kind`?" in said["error"]["message"]


@pytest.mark.usefixtures("guardrails")
async def test_a_service_activates_no_policy(open_bus: OpenBus) -> None:
    verdict = await propose_policy(client(await open_bus("cli"), "generator"), changed(), "I know better")
    assert isinstance(verdict, ChangeVetoed) and "only people propose a policy" in verdict.reasons[0]


async def test_a_restart_keeps_what_people_activated(guardrails: list[Application], open_bus: OpenBus, tmp_path: Path) -> None:
    bus = await open_bus("cli")
    await activate(bus, changed())
    again = create_app(guardrails[0].settings, GuardrailSettings(private_key_file=tmp_path / "keys" / "guardrail.key"))
    await again.start()
    guardrails.append(again)
    found = await bus.ask(GetPolicy())
    assert (found["version"], found["active"], found["source"]) == (9, True, "change")


@pytest.mark.usefixtures("guardrails")
async def test_who_proposes_during_a_freeze_hears_at_once_that_it_is_kept(open_bus: OpenBus) -> None:
    bus = await open_bus("cli")
    command = FreezeSystem(freeze_id="f1", reason="incident", author="alice")
    await Recovery(bus.signed_by(signer("alice"))).freeze(command)
    with pytest.raises(UnavailableError, match="no verdict yet: it came during a freeze: kept"):
        await propose_policy(client(bus, "alice"), changed(), "because")
