"""Somebody writes into the guardrail's collections past the guardrail: executors run nothing that this would bring about."""

from __future__ import annotations

from typing import Any

from shared.events.runs import ExecuteRun, RunFinished
from shared.pipeline.loading import load_document
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel

GREETING = {"name": "greeting", "steps": [{"name": "greet", "type": "claude", "prompt": "Greet."}]}
INSULT = {"name": "greeting", "steps": [{"name": "greet", "type": "claude", "prompt": "Insult."}]}


async def edited(kit: ExecutorKit, collection: str, document_id: str, **fields: Any) -> None:
    assert await kit.guardrail.collection(collection).update_if({"_id": document_id}, {"$set": fields})


async def run(kit: ExecutorKit, run_id: str = "run-1") -> RunFinished:
    return await kit.execute(ExecuteRun(run_id=run_id, pipeline="greeting"))


async def refused(kit: ExecutorKit, code: str) -> None:
    finished = await run(kit)
    assert (finished.status, finished.error_code) == ("refused", code), finished
    assert isinstance(kit.model, ScriptedModel) and not kit.model.requests


async def test_a_deployment_pointed_by_hand_at_a_planted_revision_runs_nothing() -> None:
    kit = ExecutorKit()
    digest = await kit.notary.deploy(kit.guardrail, GREETING)
    stored = await kit.guardrail.collection("revisions").get(digest)
    assert stored is not None
    planted = load_document(INSULT)
    await kit.guardrail.collection("revisions").put({**stored, "_id": planted.digest, "digest": planted.digest, "document": INSULT})
    await edited(kit, "deployments", "greeting", stable=planted.digest)
    await refused(kit, "not_attested")


async def test_a_deployment_pointed_by_hand_at_what_is_not_stored_runs_nothing() -> None:
    kit = ExecutorKit()
    await kit.notary.deploy(kit.guardrail, GREETING)
    await edited(kit, "deployments", "greeting", stable=load_document(INSULT).digest)
    await refused(kit, "not_found")


async def test_a_deployment_pointed_by_hand_at_another_pipelines_revision_runs_nothing() -> None:
    kit = ExecutorKit()
    await kit.notary.deploy(kit.guardrail, GREETING)
    other = await kit.notary.deploy(kit.guardrail, {**GREETING, "name": "other"})
    await edited(kit, "deployments", "greeting", stable=other)
    await refused(kit, "not_found")


async def test_a_deployment_pointed_by_hand_back_at_a_quarantined_revision_runs_nothing() -> None:
    kit = ExecutorKit()
    bad = await kit.notary.deploy(kit.guardrail, INSULT, status="quarantined")
    await kit.notary.deploy(kit.guardrail, GREETING)
    await edited(kit, "deployments", "greeting", stable=bad)
    await refused(kit, "not_attested")


async def test_a_canary_written_by_hand_runs_nothing_that_is_not_attested() -> None:
    kit = ExecutorKit()
    await kit.notary.deploy(kit.guardrail, GREETING)
    served = {"rollout_id": "r1", "salt": "s", "share": 1.0, "shadow_share": 0.0, "shadow_runs": 0}
    await edited(kit, "deployments", "greeting", canary=load_document(INSULT).digest, rollout=served)
    await refused(kit, "not_found")
