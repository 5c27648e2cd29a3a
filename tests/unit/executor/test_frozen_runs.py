"""Searches stop when the system is frozen, and runs end on a revision that was taken back with that wish; what serves goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.use_cases import pause_run, resume_run, retry_run
from shared.events.recovery import Freeze
from shared.events.runs import ExecuteRun, PauseRun, ResumeRun, RetryRun, RunFinished
from shared.pipeline.loading import load_document
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit, new_id
from tests.fakes.language_model import ScriptedModel

DOCUMENT: dict[str, Any] = {
    "name": "greeting",
    "domain": "support",
    "inputs": {"text": "string"},
    "steps": [{"name": "say", "type": "claude", "prompt": "Say: {{ text }}"}],
    "outputs": {"answer": "{{ steps.say.text }}"},
}
INPUTS = {"text": "hello"}


async def freeze(kit: ExecutorKit, **fields: str) -> None:
    freeze = Freeze.model_validate(
        {"freeze_id": "f1", "scope": "all", "reason": "incident", "author": "alice", "at": "2026-11-22T12:00:00+00:00", **fields}
    )
    await kit.guardrail.collection("freezes").put({"_id": "system", "freezes": [freeze.model_dump(mode="json")], "generation": 1})


@pytest.mark.parametrize("purpose", ["generation", "evolution", "meta"])
async def test_a_search_is_refused_while_the_system_is_frozen(purpose: str) -> None:
    kit = ExecutorKit()
    await freeze(kit)
    finished = await trial(kit, purpose)
    assert (finished.status, finished.error_code) == ("refused", "frozen")
    assert "incident" in finished.error and "evoline unfreeze" in finished.error


@pytest.mark.parametrize("purpose", ["gate", "measure"])
async def test_the_guardrails_own_looks_go_on(purpose: str) -> None:
    kit = ExecutorKit()
    await freeze(kit)
    finished = await trial(kit, purpose)
    assert finished.status == "succeeded"


async def test_what_serves_goes_on() -> None:
    kit = ExecutorKit()
    await kit.notary.deploy(kit.guardrail, DOCUMENT)
    await freeze(kit)
    finished = await kit.execute(ExecuteRun(run_id="r1", pipeline="greeting", inputs=INPUTS))
    assert finished.status == "succeeded"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"scope": "pipeline", "name": "greeting"}, "frozen"),
        ({"scope": "pipeline", "name": "another"}, ""),
        ({"scope": "domain", "name": "support"}, "frozen"),
        ({"scope": "domain", "name": "finance"}, ""),
    ],
)
async def test_a_freeze_holds_for_what_it_names(fields: dict[str, str], code: str) -> None:
    kit = ExecutorKit()
    await freeze(kit, **fields)
    assert (await trial(kit)).error_code == code


async def test_a_search_under_way_stops_at_once() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=30))
    run = asyncio.ensure_future(trial(kit))
    await eventually(kit.starts)
    await freeze(kit)
    finished = await run
    assert (finished.status, finished.error_code) == ("cancelled", "frozen")


async def trial(kit: ExecutorKit, purpose: str = "generation") -> RunFinished:
    return await kit.trial(DOCUMENT, inputs=INPUTS, scope=kit.notary.grant(purpose=purpose, domain="support"))


async def quarantined(kit: ExecutorKit, digest: str, *, cancel_running: bool) -> None:
    row = {"_id": digest, "cause": "q1", "reason": "it insults", "author": "alice", "cancel_running": cancel_running}
    await kit.guardrail.collection("quarantine").put(row)


async def test_runs_under_way_on_a_quarantined_revision_finish_unless_they_are_to_be_cancelled() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=30))
    digest = await kit.notary.deploy(kit.guardrail, DOCUMENT)
    run = asyncio.ensure_future(kit.execute(ExecuteRun(run_id="r1", pipeline="greeting", inputs=INPUTS)))
    await eventually(kit.starts)
    await quarantined(kit, digest, cancel_running=False)
    done, _ = await asyncio.wait({run}, timeout=0.2)
    assert not done
    await quarantined(kit, digest, cancel_running=True)
    finished = await run
    assert (finished.status, finished.error_code) == ("cancelled", "quarantined")
    assert "alice" in finished.error and "it insults" in finished.error


async def test_a_quarantined_document_does_not_run_as_a_trial_either() -> None:
    kit = ExecutorKit()
    await quarantined(kit, load_document(DOCUMENT).digest, cancel_running=False)
    finished = await trial(kit)
    assert (finished.status, finished.error_code) == ("refused", "not_attested")


TWO_STEPS = {
    **DOCUMENT,
    "steps": [
        {"name": "first", "type": "claude", "prompt": "A: {{ text }}"},
        {"name": "say", "type": "claude", "prompt": "B: {{ text }}"},
    ],
}


async def taken_back(kit: ExecutorKit, digest: str) -> None:
    await quarantined(kit, digest, cancel_running=False)
    await kit.guardrail.collection("revisions").update_if({"_id": digest}, {"$set": {"status": "quarantined"}})


async def next_order(effects: Any) -> ExecuteRun:
    ((_, order),) = await effects
    assert isinstance(order, ExecuteRun)
    return order


async def test_a_run_that_was_paused_on_a_quarantined_revision_does_not_go_on() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=0.1))
    digest = await kit.notary.deploy(kit.guardrail, TWO_STEPS)
    running = asyncio.ensure_future(kit.deliver(ExecuteRun(run_id="r1", pipeline="greeting", inputs=INPUTS)))
    await eventually(kit.starts)
    await pause_run(PauseRun(run_id="r1"), new_id(), kit.executor)
    assert await running is None
    await taken_back(kit, digest)
    finished = await kit.execute(await next_order(resume_run(ResumeRun(run_id="r1"), new_id(), kit.executor)))
    assert (finished.status, finished.error_code) == ("refused", "not_attested")


async def test_a_failed_run_on_a_quarantined_revision_is_not_retried() -> None:
    kit = ExecutorKit(model=ScriptedModel([ValueError("no")]))
    digest = await kit.notary.deploy(kit.guardrail, DOCUMENT)
    assert (await kit.execute(ExecuteRun(run_id="r1", pipeline="greeting", inputs=INPUTS))).status == "failed"
    await taken_back(kit, digest)
    finished = await kit.execute(await next_order(retry_run(RetryRun(run_id="r1"), new_id(), kit.executor)))
    assert (finished.status, finished.error_code) == ("refused", "not_attested")
