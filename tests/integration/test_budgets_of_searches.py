"""Budgets over the bus: a search reserves, runs, closes its scope; the command shows it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from services.guardrail.app import create_app
from services.guardrail.settings import GuardrailSettings
from shared.attestation import create_key_pair
from shared.events.changes import GrantScope
from shared.events.quotas import CloseScope, EstimateCost, ListBudgets, ListReservations, ScopeClosed, ScopeClosingRefused
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Budget, GrantedScope
from shared.messaging.bus import Bus
from shared.settings import SharedSettings
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.language_model import ScriptedModel
from tests.fakes.people import own, signer, written_registry
from tests.integration.commands import Command

pytestmark = pytest.mark.usefixtures("empty_streams")
PIPELINES = Path(__file__).parent.parent.parent / "pipelines"
DOCUMENT = {"name": "asks", "domain": "support", "steps": [{"name": "a", "type": "claude", "prompt": "a?"}]}


@pytest.fixture
async def bus(open_bus: OpenBus, nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[Bus]:
    """With a guardrail and an executor behind it."""
    store = connect(SecretStr(mongo_url))
    for name in ("evoline_guardrail", "evoline_sealed", "evoline_executor"):
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
    model = ScriptedModel()
    guardrail = create_app(settings, GuardrailSettings(private_key_file=keys.private, budget_sweep_seconds=0.2))
    own = ExecutorSettings(workspace_dir=tmp_path / "workspaces")
    executor = create_executor(settings, own, models={"claude": model, "gemini": model})
    await guardrail.start()
    await executor.start()
    yield await open_bus("test")
    await executor.stop()
    await guardrail.stop()


async def granted(bus: Bus, scope_id: str, **fields: Any) -> GrantedScope:
    budget = Budget(runs=10, calls=20, tokens=50_000, cost_usd=0.25)
    wish = {"purpose": "evolution", "holder": "evolution", "domain": "support", "budget": budget, "pipeline": "asks", **fields}
    evolution = bus.signed_by(signer("evolution"))
    return GrantedScope.model_validate(await evolution.ask(GrantScope.model_validate({"scope_id": scope_id, **wish})))


async def ended(bus: Bus, scope: GrantedScope) -> RunFinished:
    command = ExecuteRun(run_id=uuid.uuid4().hex, document=DOCUMENT, scope=scope, purpose="evaluation")
    async with bus.follow(RunFinished) as stream:
        await bus.publish(command, cause=command.run_id)
        async for fact, _ in stream:
            if isinstance(fact, RunFinished) and fact.run_id == command.run_id:
                return fact
    raise AssertionError("the bus closed")


async def answer_to(bus: Bus, command: CloseScope) -> ScopeClosed | ScopeClosingRefused:
    async with bus.follow(ScopeClosed, ScopeClosingRefused) as stream:
        await own(bus, command).publish(command, cause=uuid.uuid4().hex)
        async for fact, _ in stream:
            assert isinstance(fact, ScopeClosed | ScopeClosingRefused)
            return fact
    raise AssertionError("the bus closed")


async def account(bus: Bus, name: str) -> dict[str, Any]:
    (row,) = (await bus.ask(ListBudgets(account=name)))["accounts"]
    return dict(row)


async def test_a_closed_scope_is_charged_what_it_used_and_runs_nothing_more(bus: Bus, command: Command) -> None:
    scope = await granted(bus, "search-1", group_id="evolution-1")
    used = [await ended(bus, scope) for _ in range(3)]
    assert [each.status for each in used] == ["succeeded"] * 3
    assert (await account(bus, "pipeline:asks"))["reserved"]["runs"] == 10
    assert isinstance(await answer_to(bus, CloseScope(scope_id="search-1", author="generator")), ScopeClosingRefused)
    assert isinstance(await answer_to(bus, CloseScope(scope_id="search-1", author="evolution")), ScopeClosed)
    for name in ("system", "purpose:evolution", "service:evolution", "domain:support", "pipeline:asks", "group:evolution-1"):
        row = await account(bus, name)
        assert (row["used"]["runs"], row["used"]["calls"], row["reserved"]["runs"]) == (3, 3, 0)
        assert row["used"]["tokens"] == sum(each.usage.input_tokens + each.usage.output_tokens for each in used)
    refused = await ended(bus, scope)
    assert (refused.status, refused.error_code) == ("refused", "limit_reached:scope")
    code, told, _ = await command("budget", "show", "pipeline:asks", "--json")
    assert (code, told["used"]["runs"], told["reservations"]) == (0, 3, [])
    code, text, _ = await command("budget", "list")
    assert code == 0 and "purpose:evolution" in text and "pipeline:asks" in text


async def test_an_expired_scope_is_settled_by_itself(bus: Bus) -> None:
    await granted(bus, "search-2", seconds=0.5)

    async def is_settled() -> bool:
        return not (await bus.ask(ListReservations()))["reservations"]

    await eventually(is_settled)
    assert (await account(bus, "system"))["used"]["runs"] == (await account(bus, "system"))["reserved"]["runs"] == 0


async def test_the_command_estimates_a_pipeline_and_a_file_and_says_where_it_does_not_fit(
    bus: Bus, command: Command, tmp_path: Path
) -> None:
    told = await bus.ask(EstimateCost(pipeline="context_aware_pipeline_generator", runs=5))
    assert (told["runs_that_fit"], told["fits"]) == (5, True)
    file = tmp_path / "asks.yaml"
    file.write_text("name: asks\ndomain: support\nsteps: [{name: a, type: claude, prompt: 'a?'}]\n")
    code, text, _ = await command("budget", "estimate", str(file), "--runs", "200000")
    assert code == 1 and "purpose:evolution may use 100,000 runs" in text and "100,000 runs would fit today" in text
