"""Keys change under a running guardrail and a running executor, by the command line and without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.attestation import KeyRing
from shared.events.deployments import PipelineDeployed
from shared.messaging.bus import Bus
from shared.service import Application
from tests.fakes.guardrail import pipeline, proposal
from tests.integration.commands import Command
from tests.integration.test_guardrail_service import (
    RULES_OF_THUMB,
    Facts,
    StartGuardrail,
    bus,
    heard,
    ran,
    real_executor,
    send,
    start_guardrail,
)

__all__ = ["bus", "heard", "real_executor", "start_guardrail"]
pytestmark = pytest.mark.usefixtures("empty_streams")


async def test_stable_pipelines_run_on_after_a_rotation_and_after_the_key_that_signed_them_was_revoked(
    start_guardrail: StartGuardrail, real_executor: Application, bus: Bus, heard: Facts, command: Command, tmp_path: Path
) -> None:
    await start_guardrail()
    step = {"name": "classify", "type": "set_variable", "variable": "label", "value": RULES_OF_THUMB[0]}
    await send(bus, proposal(pipeline(steps=[step]), "c1"))
    await heard.one(PipelineDeployed, change_id="c1")
    ring = KeyRing(tmp_path / "keys")
    first = ring.state().signing

    code, rotated, _ = await command("keys", "rotate", "--dir", str(tmp_path / "keys"), "--author", "alice", "--json")
    assert (code, rotated["former"]) == (0, [first])
    assert rotated["guardrail"]["signing"] == rotated["signing"] != first
    assert rotated["guardrail"]["attested"] == {}
    assert (await ran(bus, heard, "triage")).status == "succeeded"

    arguments = ("keys", "revoke", rotated["signing"], "--reason", "stolen", "--dir", str(tmp_path / "keys"), "--json")
    code, revoked, _ = await command(*arguments)
    assert code == 0 and revoked["guardrail"]["unproven"] == []
    assert revoked["guardrail"]["revoked"] == [rotated["signing"]]
    assert (await ran(bus, heard, "triage")).status == "succeeded"

    code, retired, _ = await command("keys", "retire", "--dir", str(tmp_path / "keys"), "--json")
    assert (code, retired["retired"]) == (0, [first])
    assert ring.state().trusted == (ring.state().signing,)
    assert (await ran(bus, heard, "triage")).status == "succeeded"
    code, story, errors = await command("audit", "why", "triage", "--keys", str(ring.public_file), "--json")
    (signed,) = [line for line in story["lines"] if line["about"] == "attestation"]
    assert signed["verified"] and ring.state().signing in signed["text"], (code, errors)
