"""Policies over the real bus and the real store: two guardrails follow one activation, from the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from services.guardrail.adapters.files import DEFAULT_POLICY
from services.guardrail.app import create_app
from services.guardrail.settings import GuardrailSettings
from shared.attestation import create_key_pair
from shared.events.changes import ChangeVetoed
from shared.events.policies import GetPolicy, PolicyActivated
from shared.service import Application
from shared.settings import SharedSettings
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.fakes.guardrail import pipeline, proposal
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
        nats_url=nats_url, mongo_url=SecretStr(mongo_url), pipelines_dir=tmp_path, guardrail_public_key_file=keys.public
    )
    started = []
    for _ in range(2):
        app = create_app(settings, GuardrailSettings(private_key_file=keys.private))
        await app.start()
        started.append(app)
    yield started
    for app in started:
        await app.stop()


def written(path: Path, **changes: Any) -> str:
    content = {**yaml.safe_load(DEFAULT_POLICY.read_text(encoding="utf-8")), "version": 9, **changes}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.mark.usefixtures("guardrails")
async def test_a_policy_is_tried_proposed_approved_and_followed_by_every_process(
    open_bus: OpenBus, command: Command, tmp_path: Path
) -> None:
    bus = await open_bus("cli")
    async with bus.follow(ChangeVetoed, PolicyActivated) as facts:
        nothing = [{"id": "nothing-goes", "effect": "veto", "when": "change.kind != 'policy'", "reason": "closed", "do": "wait"}]
        file = written(tmp_path / "closed.yaml", rules=nothing)
        assert (await command("policy", "validate", file, "--json"))[1]["valid"]
        code, queued, error = await command("policy", "propose", file, "--reason", "holidays", "--author", "ada", "--json")
        assert (code, queued["verdict"], queued["risk_class"]) == (0, "ChangeQueued", "critical"), error
        assert (await bus.ask(GetPolicy()))["version"] != 9
        code, approved, error = await command("review", "approve", queued["change_id"], "--author", "grace", "--json")
        assert (code, approved["verdict"]) == (0, "ChangeApproved"), error
        for number in range(8):  # whichever of the two takes it
            await bus.publish(proposal(pipeline(name=f"late_{number}"), f"late-{number}"), cause=f"late-{number}")
        vetoes: list[ChangeVetoed] = []
        async for fact, _ in facts:
            if isinstance(fact, ChangeVetoed):
                vetoes.append(fact)
            if len(vetoes) == 8:
                break
    assert {veto.vetoed_by for veto in vetoes} == {"policy:nothing-goes"}
    code, tested, _ = await command("policy", "test", str(DEFAULT_POLICY), "--json")
    assert (code, tested["counts"]["veto -> allow"]) == (0, 8)
    code, shown, _ = await command("policy", "show", "--json")
    assert (shown["version"], shown["source"], shown["approved_by"]) == (9, "change", "review:grace")
    code, back, error = await command("policy", "rollback", "--reason", "open again", "--author", "ada", "--json")
    assert (code, back["verdict"]) == (0, "ChangeQueued"), error


@pytest.mark.usefixtures("guardrails")
async def test_a_wrong_policy_is_answered_with_its_place(command: Command, tmp_path: Path) -> None:
    rule = {"id": "odd", "effect": "veto", "when": "change.knd == 'revision'", "reason": "because"}
    code, said, _ = await command("policy", "validate", written(tmp_path / "odd.yaml", rules=[rule]), "--json")
    assert code == 1
    assert "rule odd: `when`" in said["error"]["message"] and "did you mean `change.kind`?" in said["error"]["message"]


@pytest.mark.usefixtures("guardrails")
async def test_a_service_activates_no_policy(command: Command, tmp_path: Path) -> None:
    code, said, _ = await command(
        "policy", "propose", written(tmp_path / "p.yaml"), "--reason", "x", "--author", "generator", "--json"
    )
    assert (code, said["verdict"]) == (1, "ChangeVetoed") and "only people propose a policy" in said["reasons"][0]


async def test_a_restart_keeps_what_people_activated(
    guardrails: list[Application], open_bus: OpenBus, command: Command, tmp_path: Path
) -> None:
    _, queued, _ = await command("policy", "propose", written(tmp_path / "p.yaml"), "--reason", "x", "--author", "ada", "--json")
    await command("review", "approve", queued["change_id"], "--author", "grace", "--json")
    settings, bus = guardrails[0].settings, await open_bus("cli")
    again = create_app(settings, GuardrailSettings(private_key_file=tmp_path / "keys" / "guardrail.key"))
    await again.start()
    guardrails.append(again)
    found = await bus.ask(GetPolicy())
    assert (found["version"], found["active"], found["source"]) == (9, True, "change")
