"""Which runs start: only attested revisions, and trials inside their scope and budget."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.attestation import scope_digest
from shared.events.runs import ExecuteRun, RunFinished, RunStarted
from shared.events.values import Budget
from shared.pipeline.loading import load_document
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel

GREETING = {"name": "greeting", "steps": [{"name": "greet", "type": "claude", "prompt": "Greet."}]}
OTHER = {"name": "greeting", "steps": [{"name": "greet", "type": "claude", "prompt": "Insult."}]}


async def produced(kit: ExecutorKit, reference: str = "greeting", **fields: Any) -> RunFinished:
    return await kit.execute(ExecuteRun(**{"run_id": "run-1", "pipeline": reference, **fields}))


def asked(kit: ExecutorKit) -> int:
    assert isinstance(kit.model, ScriptedModel)
    return len(kit.model.requests)


async def refused(kit: ExecutorKit, code: str, **fields: Any) -> RunFinished:
    run = await kit.execute(ExecuteRun(**{"run_id": "run-1", **fields}))
    assert (run.status, run.error_code) == ("refused", code), run
    assert asked(kit) == 0
    assert kit.announcer.of(RunStarted) == []
    stored = await kit.runs.get("run-1")
    assert stored is not None
    assert stored.finished == run
    return run


@pytest.mark.parametrize("selector", ["", "@stable", "@digest", "@digest8"])
async def test_an_attested_revision_runs_by_every_way_to_name_it(selector: str) -> None:
    kit = ExecutorKit()
    digest = await kit.notary.deploy(kit.guardrail, GREETING)
    reference = "greeting" + selector.replace("digest8", digest[:8]).replace("digest", digest)
    run = await produced(kit, reference)
    assert (run.status, run.digest, run.pipeline) == ("succeeded", digest, "greeting")


async def test_what_was_never_deployed_is_refused() -> None:
    kit = ExecutorKit()
    await refused(kit, "not_found", pipeline="unknown")
    await kit.notary.deploy(kit.guardrail, GREETING)
    assert (await produced(kit, "greeting@canary", run_id="r2")).error_code == "not_found"
    assert (await produced(kit, "greeting@" + "0" * 64, run_id="r3")).error_code == "not_found"


async def test_a_revision_of_another_name_is_not_found_under_this_one() -> None:
    kit = ExecutorKit()
    digest = await kit.notary.deploy(kit.guardrail, GREETING)
    await kit.notary.deploy(kit.guardrail, {**GREETING, "name": "other"})
    assert (await produced(kit, f"other@{digest}")).error_code == "not_found"


async def test_a_quarantined_revision_is_refused_by_every_name() -> None:
    kit = ExecutorKit()
    digest = await kit.notary.deploy(kit.guardrail, GREETING, status="quarantined")
    await refused(kit, "not_attested", pipeline="greeting")
    assert (await produced(kit, f"greeting@{digest}", run_id="r2")).error_code == "not_attested"


async def test_a_rollback_holds_for_the_next_run() -> None:
    kit = ExecutorKit()
    old = await kit.notary.deploy(kit.guardrail, GREETING)
    new = await kit.notary.deploy(kit.guardrail, OTHER)
    assert (await produced(kit, run_id="r1")).digest == new
    await kit.guardrail.collection("deployments").update_if({"_id": "greeting"}, {"$set": {"stable": old}})
    assert (await produced(kit, run_id="r2")).digest == old


async def test_forged_attestations_are_refused() -> None:
    digest = load_document(GREETING).digest
    kit = ExecutorKit()
    stranger = Ed25519PrivateKey.generate()
    good = kit.notary.attest("revision", digest, "greeting").model_dump(mode="json")
    forgeries = {
        "unsigned": {**good, "signature": ""},
        "signed by a stranger": kit.notary.attest("revision", digest, "greeting", key=stranger).model_dump(mode="json"),
        "expired": kit.notary.attest("revision", digest, "greeting", days=-1).model_dump(mode="json"),
        "of another digest": kit.notary.attest("revision", "1" * 64, "greeting").model_dump(mode="json"),
        "of another name": kit.notary.attest("revision", digest, "somebody_else").model_dump(mode="json"),
        "of another kind": kit.notary.attest("template", digest, "greeting").model_dump(mode="json"),
        "changed after signing": {**good, "expires_at": "2999-01-01T00:00:00+00:00"},
    }
    for number, (what, attestation) in enumerate(forgeries.items()):
        await kit.notary.deploy(kit.guardrail, GREETING, attestation=attestation)
        run = await produced(kit, run_id=f"r{number}")
        assert (run.status, run.error_code) == ("refused", "not_attested"), what
    assert asked(kit) == 0


async def test_a_document_changed_in_the_store_is_refused() -> None:
    kit = ExecutorKit()
    await kit.notary.deploy(kit.guardrail, GREETING, document=load_document(OTHER).canonical())
    await refused(kit, "not_attested", pipeline="greeting")


async def test_a_document_without_scope_is_refused() -> None:
    await refused(ExecutorKit(), "not_attested", document=GREETING)


async def test_a_run_of_nothing_is_refused() -> None:
    await refused(ExecutorKit(), "invalid_input")


async def test_a_broken_document_is_refused_with_its_problems() -> None:
    kit = ExecutorKit()
    broken = {"name": "greeting", "steps": [{"name": "a", "type": "clade", "prompt": "x"}]}
    run = await refused(kit, "invalid_input", document=broken, scope=kit.notary.grant(), purpose="trial")
    assert "clade" in run.error


async def test_a_run_that_comes_too_late_is_refused() -> None:
    kit = ExecutorKit()
    await kit.notary.deploy(kit.guardrail, GREETING)
    await refused(kit, "limit_reached:deadline", pipeline="greeting", deadline_at="2020-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("narrowed", "document"),
    [
        ({"step_types": ("gemini",)}, GREETING),
        ({"providers": ("gemini",)}, GREETING),
        ({"domain": "support"}, {**GREETING, "domain": "finance"}),
        ({"functions": ()}, {"name": "f", "steps": [{"name": "a", "type": "function", "function": "recent_runs"}]}),
        ({"budget": Budget(runs=5, calls=0, tokens=100)}, GREETING),
    ],
)
async def test_a_trial_outside_its_scope_is_refused(narrowed: dict[str, Any], document: dict[str, Any]) -> None:
    kit = ExecutorKit()
    await refused(kit, "out_of_scope", document=document, scope=kit.notary.grant(**narrowed), purpose="trial")
    assert await kit.database.collection("scope_usage").count({}) == 0


async def test_a_trial_never_counts_as_production() -> None:
    kit = ExecutorKit()
    await refused(kit, "out_of_scope", document=GREETING, scope=kit.notary.grant(), purpose="production")


async def test_scopes_that_are_over_or_changed_after_signing_are_refused() -> None:
    kit = ExecutorKit()
    await refused(kit, "not_attested", document=GREETING, scope=kit.notary.grant(minutes=-1), purpose="trial")
    granted = kit.notary.grant()
    wider = granted.scope.model_copy(update={"budget": Budget(runs=10**6)})
    forged = granted.model_copy(update={"scope": wider})
    run = await kit.execute(ExecuteRun(run_id="r2", document=GREETING, scope=forged, purpose="trial"))
    assert run.error_code == "not_attested"
    self_signed = granted.model_copy(
        update={
            "attestation": kit.notary.attest("scope", scope_digest(granted.scope), "generation", key=Ed25519PrivateKey.generate())
        }
    )
    run = await kit.execute(ExecuteRun(run_id="r3", document=GREETING, scope=self_signed, purpose="trial"))
    assert run.error_code == "not_attested"
    assert asked(kit) == 0


async def test_runs_over_the_scopes_budget_are_refused_and_never_counted_beyond_it() -> None:
    kit = ExecutorKit()
    granted = kit.notary.grant(budget=Budget(runs=3, calls=100, tokens=100_000))
    orders = [ExecuteRun(run_id=f"r{n}", document=GREETING, scope=granted, purpose="trial") for n in range(6)]
    runs = await asyncio.gather(*(kit.execute(order) for order in orders))
    assert sorted(run.status for run in runs) == ["refused"] * 3 + ["succeeded"] * 3
    assert {run.error_code for run in runs if run.status == "refused"} == {"limit_reached:runs"}
    usage = await kit.database.collection("scope_usage").get("scope-1")
    assert usage is not None
    assert usage["runs"] == 3


async def test_calls_and_tokens_of_a_scope_are_counted_over_all_its_runs() -> None:
    kit = ExecutorKit(model=ScriptedModel(["one two three"]))
    granted = kit.notary.grant(budget=Budget(runs=100, calls=2, tokens=100_000))
    runs = [await kit.execute(ExecuteRun(run_id=f"r{n}", document=GREETING, scope=granted, purpose="trial")) for n in range(4)]
    assert [run.error_code for run in runs] == ["", "", "limit_reached:calls", "limit_reached:calls"]
    assert asked(kit) == 2
    usage = await kit.database.collection("scope_usage").get("scope-1")
    assert usage is not None
    assert (usage["calls"], usage["tokens"]) == (2, sum(run.usage.input_tokens + run.usage.output_tokens for run in runs))


async def test_a_scopes_tokens_are_reserved_before_the_call() -> None:
    kit = ExecutorKit()
    granted = kit.notary.grant(budget=Budget(runs=100, calls=10, tokens=300))
    run = await kit.execute(ExecuteRun(run_id="r1", document=GREETING, scope=granted, purpose="trial"))
    assert run.error_code == "limit_reached:tokens"
    assert asked(kit) == 0
