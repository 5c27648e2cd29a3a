"""Rollouts on a real broker and a real store: executor and guardrail as they are deployed, no model behind the pipelines."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from evoline.client.rollouts import Rollouts
from services.executor.app import create_app as create_executor
from services.executor.settings import ExecutorSettings
from services.guardrail.app import create_app
from services.guardrail.settings import GuardrailSettings
from shared.attestation import create_key_pair
from shared.errors import InvalidInputError
from shared.events.changes import ChangeApproved, ProposeChange
from shared.events.deployments import GetPipeline
from shared.events.rollouts import RolloutPlan, RolloutStep
from shared.events.runs import ExecuteRun, RunFinished
from shared.messaging.bus import Bus
from shared.messaging.fleet import Fleet
from shared.service import Application
from shared.settings import SharedSettings
from shared.storage.mongo import connect
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.people import key_file, signer, written_registry
from tests.integration.commands import Command

pytestmark = pytest.mark.usefixtures("empty_streams")
PIPELINES = Path(__file__).parent.parent.parent / "pipelines"
QUICK = RolloutPlan(
    steps=(
        RolloutStep(share=0.0, minutes=0, sample=5),
        RolloutStep(share=0.5, minutes=0, sample=10),
        RolloutStep(share=1.0, minutes=0, sample=0),
    ),
    shadow_share=1.0,
    shadow_runs=50,
    watch_runs=10,
)
OPEN = QUICK.model_copy(update={"steps": QUICK.steps[1:]})
STABLE, GOOD, BROKEN = "{{ text | upper }}", "{{ text | upper | trim }}", "{{ 1 // (text | length - text | length) }}"
StartGuardrail = Callable[[], Awaitable[Application]]


def pipeline(value: str) -> dict[str, Any]:
    """Answers without a model; the broken one fails on every input."""
    return {
        "name": "shouting",
        "domain": "support",
        "inputs": {"text": "string"},
        "steps": [{"name": "shout", "type": "set_variable", "variables": {"shouted": value}}],
        "outputs": {"answer": "{{ vars.shouted }}"},
    }


@pytest.fixture
async def bus(open_bus: OpenBus) -> Bus:
    """Of alice, who proposes and rolls out."""
    return (await open_bus("test")).signed_by(signer("alice"))


@pytest.fixture
async def start_guardrail(nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[StartGuardrail]:
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
    for name in ("alice", "grace"):
        key_file(tmp_path / "home" / "keys" / "identities", name)
    own = GuardrailSettings(private_key_file=keys.private, rollout_interval_seconds=0.2)
    started: list[Application] = []

    async def start() -> Application:
        app = create_app(settings, own)
        await app.start()
        started.append(app)
        return app

    yield start
    for app in started:
        await app.stop()


@pytest.fixture
async def executor(start_guardrail: StartGuardrail, nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[Application]:
    settings = SharedSettings(
        nats_url=nats_url, mongo_url=SecretStr(mongo_url), guardrail_public_key_file=tmp_path / "keys" / "guardrail.pub"
    )
    app = create_executor(settings, ExecutorSettings(workspace_dir=tmp_path / "workspaces"))
    await app.start()
    yield app
    await app.stop()


async def approve(bus: Bus, value: str, change_id: str, **fields: Any) -> str:
    document = pipeline(value)
    command = ProposeChange(
        change_id=change_id, kind="revision", pipeline="shouting", document=document, domain="support", author="alice", **fields
    )
    async with bus.follow(ChangeApproved) as facts:
        await bus.publish(command, cause=uuid.uuid4().hex)
        async with asyncio.timeout(30):
            async for fact, _ in facts:
                if isinstance(fact, ChangeApproved) and fact.change_id == change_id:
                    return fact.digest
    raise AssertionError("approved or timed out")


async def run_many(bus: Bus, count: int, prefix: str) -> list[RunFinished]:
    orders = [ExecuteRun(run_id=f"{prefix}-{number}", pipeline="shouting", inputs={"text": "hello"}) for number in range(count)]
    ends = await Fleet(bus).run_all(orders, max_in_flight=8, deadline_seconds=60)
    assert len(ends) == count
    return list(ends.values())


async def state_of(rollouts: Rollouts, wanted: Callable[[dict[str, Any]], bool], seconds: float = 30) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_there() -> bool:
        nonlocal found
        found = await rollouts.get("r1")
        return wanted(found)

    await eventually(is_there, seconds)
    return found


async def test_a_good_revision_goes_from_shadow_to_stable_and_a_restart_in_between_changes_nothing(
    start_guardrail: StartGuardrail, executor: Application, bus: Bus
) -> None:
    guardrail = await start_guardrail()
    stable, good = await approve(bus, STABLE, "c1"), await approve(bus, GOOD, "c2", deploy=False)
    rollouts = Rollouts(bus, author="alice")
    told = await rollouts.start("r1", "shouting", good[:12], plan=QUICK)
    assert (told.state, told.share) == ("running", 0.0)
    ends = await run_many(bus, 6, "shadowed")
    assert {(run.digest, run.arm) for run in ends} == {(stable, "outside")}
    at_half = await state_of(rollouts, lambda found: found["share"] == 0.5)
    assert at_half["numbers"]["shadow_runs"] >= 5
    await guardrail.stop()
    compared = await run_many(bus, 40, "compared")
    assert {run.digest for run in compared} == {stable, good}
    await start_guardrail()
    done = await state_of(rollouts, lambda found: found["state"] == "completed")
    assert done["numbers"]["canary"]["runs"] + done["numbers"]["control"]["runs"] >= 20
    assert (await bus.ask(GetPipeline(pipeline="shouting")))["stable"] == good
    await run_many(bus, 12, "watched")
    await state_of(rollouts, lambda found: bool(found["is_over"]))
    seen = done["numbers"]["canary"]["successes"]
    assert seen == done["numbers"]["canary"]["runs"]


async def test_a_broken_revision_is_taken_back_and_every_later_run_is_on_the_stable_one(
    start_guardrail: StartGuardrail, executor: Application, bus: Bus, command: Command
) -> None:
    await start_guardrail()
    await start_guardrail()
    stable, broken = await approve(bus, STABLE, "c1"), await approve(bus, BROKEN, "c2", deploy=False)
    rollouts = Rollouts(bus, author="alice")
    await rollouts.start("r1", "shouting", broken, plan=OPEN)
    with pytest.raises(InvalidInputError, match="rollout r1"):
        await rollouts.start("r2", "shouting", broken, plan=OPEN)
    for number in range(10):
        await run_many(bus, 6, f"batch-{number}")
        if (await rollouts.get("r1"))["is_over"]:
            break
    found = await rollouts.get("r1")
    assert found["state"] == "rolled_back"
    assert found["quarantined"] == [broken]
    after = await run_many(bus, 10, "after")
    assert {(run.status, run.digest, run.arm) for run in after} == {("succeeded", stable, "")}
    code, shown, _ = await command("rollout", "status", "shouting")
    assert code == 0
    assert "rolled_back" in shown
    code, listed, _ = await command("rollout", "list", "--json")
    assert [row["state"] for row in listed["rollouts"]] == ["rolled_back"]


async def test_without_runs_a_rollout_holds_and_people_can_end_it(
    start_guardrail: StartGuardrail, executor: Application, bus: Bus, command: Command
) -> None:
    await start_guardrail()
    stable, good = await approve(bus, STABLE, "c1"), await approve(bus, GOOD, "c2", deploy=False)
    code, told, error = await command("rollout", "start", f"shouting@{good[:12]}", "--id", "r1", "--author", "alice", "--json")
    assert (code, error) == (0, "")
    assert told["share"] == 0.0
    code, paused, _ = await command("rollout", "pause", "shouting", "--author", "grace", "--reason", "lunch", "--json")
    assert (code, paused["state"]) == (0, "paused")
    code, _, error = await command("rollout", "abort", "r1", "--author", "grace", "--reason", "not needed")
    assert (code, error) == (0, "")
    held = Rollouts(bus, author="alice")
    await held.start("r2", "shouting", good, plan=OPEN)
    found: dict[str, Any] = {}

    async def is_held() -> bool:
        nonlocal found
        found = await held.get("r2")
        return bool(found["held"] == "no_data")

    await eventually(is_held, 20)
    assert "10 more runs an arm" in found["waits_for"]
    assert (await bus.ask(GetPipeline(pipeline="shouting")))["stable"] == stable
