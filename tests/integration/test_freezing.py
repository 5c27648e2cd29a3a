"""A freeze on real servers, with the guardrail as its own wiring has it and the command line."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from shared.events.deployments import GetPipeline, PipelineDeployed
from shared.events.recovery import ChangeHeld, SystemFrozen
from shared.messaging.bus import Bus
from tests.conftest import OpenBus
from tests.fakes.guardrail import pipeline, proposal
from tests.fakes.people import key_file, own
from tests.integration.commands import Command
from tests.integration.test_guardrail_service import StartGuardrail, start_guardrail

__all__ = ["start_guardrail"]
pytestmark = pytest.mark.usefixtures("empty_streams")
PROPOSALS = 12


async def serving(bus: Bus, name: str) -> int:
    return int((await bus.ask(GetPipeline(pipeline=name)))["generation"])


async def test_proposals_wait_out_a_freeze_and_then_take_effect_in_their_order(
    start_guardrail: StartGuardrail,
    open_bus: OpenBus,
    command: Command,
    tmp_path: Path,
) -> None:
    bus = await open_bus("test")
    key_file(tmp_path / "home" / "keys" / "identities", "alice")
    await start_guardrail()
    async with bus.follow(SystemFrozen, ChangeHeld, PipelineDeployed) as stream:
        code, frozen, _ = await command("freeze", "--reason", "incident 7", "--author", "alice", "--json")
        assert code == 0 and frozen["freeze_id"]
        for number in range(PROPOSALS):
            name = f"triage{number % 2}"
            change = proposal(pipeline(f"Say {number}: {{{{ text }}}}", name), f"c{number}")
            await own(bus, change).publish(change, cause=uuid.uuid4().hex)
        seen = []
        async for fact, _ in stream:
            seen.append(fact)
            if len(seen) == PROPOSALS + 1:
                break
        assert {type(fact) for fact in seen[1:]} == {ChangeHeld}
        code, ended, _ = await command("unfreeze", "--author", "alice", "--json")
        assert (code, ended["freeze_ids"], ended["held_before"]) == (0, [frozen["freeze_id"]], PROPOSALS)
        moved: list[PipelineDeployed] = []
        async for fact, _ in stream:
            assert isinstance(fact, PipelineDeployed)
            moved.append(fact)
            if len(moved) == PROPOSALS:
                break
    for name in ("triage0", "triage1"):
        order = [int(fact.change_id[1:]) for fact in moved if fact.pipeline == name]
        assert order == sorted(order) and len(order) == PROPOSALS // 2
        assert await serving(bus, name) == PROPOSALS // 2
