from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.use_cases import get_change, get_pipeline, list_pipelines
from shared.errors import UnavailableError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished, GetChange
from shared.events.deployments import GetPipeline, ListPipelines, PipelineDeployed
from shared.events.message import Message
from tests.fakes.guardrail import Bench, answering, bench, cases, pipeline, right

OLD, NEW = "Say the sentiment of: {{ text }}", "Name the sentiment of: {{ text }}"


async def promotable(shares: dict[str, float] | None = None) -> Bench:
    """A stable pipeline and a dataset; the executors answer by the prompt's first word."""
    at = bench()
    at.fleet.answer = answering(shares or {"Say": 0.6, "Name": 0.95})
    await at.register()
    await at.propose(pipeline(OLD), dataset_id="tweets")
    return at


async def promoted(at: Bench, change_id: str = "p1", **fields: Any) -> list[Message]:
    return await at.propose(pipeline(NEW), change_id, kind="promotion", author="evolution", dataset_id="tweets", **fields)


def vetoed(found: list[Message]) -> str:
    fact = next(fact for fact in found if isinstance(fact, ChangeVetoed))
    return "; ".join((*fact.reasons, *map(str, fact.problems)))


async def test_a_new_pipeline_of_known_parts_is_approved_attested_and_deployed() -> None:
    at = bench()
    approved, deployed = await at.propose(pipeline())
    assert isinstance(approved, ChangeApproved) and isinstance(deployed, PipelineDeployed)
    assert approved.approved_by == "policy:low-risk-revision"
    at.signer.verifier.verify(approved.attestation, kind="revision", digest=approved.digest, now=at.clock.now(), scope="triage")
    stored = await at.at.deployments.get("triage")
    assert stored is not None and (stored.stable, stored.generation, stored.previous) == (approved.digest, 1, ())


async def test_a_change_without_deployment_records_the_revision_only() -> None:
    at = bench()
    (approved,) = await at.propose(pipeline(), deploy=False)
    assert isinstance(approved, ChangeApproved)
    assert await at.at.deployments.get("triage") is None
    assert await at.at.revisions.get(approved.digest) is not None


async def test_a_repeat_is_answered_with_the_same_facts_and_changes_nothing() -> None:
    at = bench()
    first = await at.propose(pipeline())
    assert await at.propose(pipeline()) == first
    assert await at.propose(pipeline(NEW)) == first
    assert len(await at.at.revisions.of_pipeline("triage")) == 1


async def test_a_broken_document_is_vetoed_with_every_problem() -> None:
    broken = pipeline(steps=[{"name": "a", "type": "claud", "prompt": "x"}, {"name": "b", "type": "gemin", "prompt": "y"}])
    found = vetoed(await bench().propose(broken))
    assert "claud" in found and "did you mean" in found
    assert "steps[0].type" in found and "steps[1].type" in found


@pytest.mark.parametrize(("field", "value"), [("pipeline", "other"), ("domain", "finance")])
async def test_a_change_that_names_something_else_than_its_document_is_vetoed(field: str, value: str) -> None:
    fields: dict[str, Any] = {field: value}
    assert value in vetoed(await bench().propose(pipeline(), **fields))


async def test_proposing_what_is_stable_is_no_change() -> None:
    at = bench()
    await at.propose(pipeline())
    assert "no change" in vetoed(await at.propose(pipeline(), "c2"))


async def test_a_small_edit_of_the_same_author_replaces_the_stable_revision() -> None:
    at = bench()
    first = (await at.propose(pipeline()))[0]
    approved, deployed = await at.propose(pipeline(NEW), "c2")
    assert isinstance(first, ChangeApproved) and isinstance(deployed, PipelineDeployed) and isinstance(approved, ChangeApproved)
    assert (deployed.previous_digest, deployed.generation) == (first.digest, 2)
    assert approved.risk_reasons == ("prompt text changes",)


async def test_a_meta_pipeline_waits_for_people_even_when_new() -> None:
    at = bench()
    (queued,) = await at.propose(pipeline(name="context_aware_pipeline_generator"))
    assert isinstance(queued, ChangeQueued)
    assert any("system's own" in reason for reason in queued.reasons)
    assert await at.at.deployments.get("context_aware_pipeline_generator") is None


async def test_a_certified_candidate_replaces_the_stable_revision() -> None:
    at = await promotable()
    gate, approved, deployed = await promoted(at)
    assert isinstance(gate, GateFinished) and gate.verdict == "certified"
    assert isinstance(approved, ChangeApproved) and approved.approved_by == "policy:certified-promotion"
    assert isinstance(deployed, PipelineDeployed) and deployed.previous_digest == gate.incumbent_digest
    assert gate.candidate.mean > gate.incumbent.mean
    assert any("majority" in reason for reason in gate.reasons)


async def test_what_just_passed_claims_less_than_was_seen_and_what_did_not_pass_claims_no_more_than_that() -> None:
    at = await promotable()

    def each_wrong_where_the_other_is_right(document: dict[str, Any], inputs: dict[str, Any]) -> dict[str, str]:
        spread, truth = int(inputs["text"].split(" ")[3]) * 7 % 20 / 20, right(inputs)
        is_right = spread < 0.85 if "Name" in document["steps"][0]["prompt"] else spread >= 0.35
        return {"answer": truth if is_right else {"good": "bad", "bad": "good"}.get(truth, "none")}

    at.fleet.answer = each_wrong_where_the_other_is_right
    passed = (await promoted(at))[0]
    assert isinstance(passed, GateFinished) and passed.verdict == "certified" and passed.claim is not None
    assert passed.gain_low <= passed.claim < passed.gain
    assert f"{passed.claim:+.3f} claimed, {passed.gain:+.3f}" in passed.reasons[0]
    undecided = (await promoted(await promotable({"Say": 0.8, "Name": 0.85})))[0]
    assert isinstance(undecided, GateFinished) and undecided.claim == undecided.gain
    rejected = (await promoted(await promotable({"Say": 0.9, "Name": 0.4})))[0]
    assert isinstance(rejected, GateFinished) and rejected.claim is None


async def test_a_gate_of_before_claims_were_told_is_shown_as_it_was_decided_on() -> None:
    """Its hash is in the audit log."""
    gate = (await promoted(await promotable({"Say": 0.9, "Name": 0.4})))[0]
    assert isinstance(gate, GateFinished) and "claim" not in gate.model_dump(mode="json")
    assert GateFinished.model_validate(gate.model_dump(mode="json")) == gate


async def test_executors_get_sealed_inputs_and_never_a_label() -> None:
    at = await promotable()
    await promoted(at)
    assert len(at.fleet.commands) == 120
    for command in at.fleet.commands:
        assert set(command.inputs) == {"text"}
        assert "expected" not in command.model_dump_json()
        assert command.purpose == "gate"


async def test_an_undecided_candidate_is_not_deployed_and_says_what_is_missing() -> None:
    at = await promotable({"Say": 0.8, "Name": 0.85})
    gate, veto = await promoted(at)
    assert isinstance(gate, GateFinished) and gate.verdict == "canary"
    assert isinstance(veto, ChangeVetoed) and veto.vetoed_by == "gate"
    assert f"needs {gate.more_cases_needed} more" in veto.reasons[0]
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.generation == 1


async def test_a_candidate_shown_worse_is_rejected_for_good() -> None:
    at = await promotable({"Say": 0.9, "Name": 0.4})
    gate, _ = await promoted(at)
    assert isinstance(gate, GateFinished) and gate.verdict == "rejected"
    assert "vetoed in change p1" in vetoed(await at.propose(pipeline(NEW), "c9"))


async def test_degraded_answers_are_never_successes_at_the_gate_however_right_they_are() -> None:
    at = await promotable({"Say": 0.6, "Name": 1.0})
    at.fleet.is_degraded = lambda document: "Name" in document["steps"][0]["prompt"]
    gate, _ = await promoted(at)
    assert isinstance(gate, GateFinished) and gate.verdict == "rejected"
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.generation == 1


async def test_looks_at_the_sealed_cases_run_out() -> None:
    at = await promotable({"Say": 0.8, "Name": 0.85})
    alphas = []
    for number in range(12):
        found = await at.propose(
            pipeline(f"Name {number} the sentiment of: {{{{ text }}}}"), f"p{number}", kind="promotion", dataset_id="tweets"
        )
        gate = next((fact for fact in found if isinstance(fact, GateFinished)), None)
        if gate is None:
            assert "error budget" in vetoed(found)
            break
        alphas.append(gate.alpha)
    assert alphas == [0.05 / 2**look for look in range(len(alphas))]
    assert 5 <= len(alphas) <= 8
    assert sum(alphas) <= 0.10


async def test_a_look_that_is_not_complete_is_tried_again_without_paying_twice() -> None:
    at = await promotable()
    at.fleet.lost = {"sealed-0003"}
    with pytest.raises(UnavailableError, match="2 of 120"):
        await promoted(at)
    assert len(at.fleet.commands) == 118
    at.fleet.lost = set()
    gate, *_ = await promoted(at)
    assert isinstance(gate, GateFinished) and (gate.verdict, gate.alpha) == ("certified", 0.05)
    assert len(at.fleet.commands) == 120


async def test_runs_that_never_end_count_as_failures_when_patience_is_over() -> None:
    at = await promotable()
    at.fleet.lost = {"sealed-0003"}
    patience = at.at.limits.patient_attempts
    gate = (await at.propose(pipeline(NEW), "p1", kind="promotion", dataset_id="tweets", attempt=patience))[0]
    assert isinstance(gate, GateFinished)
    assert gate.candidate.failures == gate.incumbent.failures == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dataset_id": None}, "dataset"),
        ({"dataset_id": "unheard"}, "no dataset 'unheard'"),
        ({"pipeline": "fresh"}, "no stable revision"),
    ],
)
async def test_a_promotion_without_anything_to_measure_against_is_vetoed(fields: dict[str, Any], said: str) -> None:
    at = await promotable()
    document = pipeline(NEW, name=fields.get("pipeline", "triage"))
    given = {"kind": "promotion", "dataset_id": "tweets", **fields}
    assert said in vetoed(await at.propose(document, "p1", **given))
    assert not at.fleet.commands


async def test_a_candidate_that_holds_sealed_text_is_vetoed_before_any_run() -> None:
    at = await promotable()
    stolen = next(case for case in cases() if case.split == "sealed").input["text"]
    found = await at.propose(pipeline(f"Name: {stolen} {{{{ text }}}}"), "p1", kind="promotion", dataset_id="tweets")
    assert "must not know" in vetoed(found)
    assert not at.fleet.commands


async def test_a_data_set_without_the_inputs_that_a_revision_needs_takes_no_look() -> None:
    at = await promotable()
    reads_more = pipeline("Name the mood of {{ text }} in {{ tongue }}")
    said = vetoed(await at.propose(reads_more, "p1", kind="promotion", dataset_id="tweets"))
    assert "the candidate needs the inputs ['tongue'], dataset tweets gives ['text']; name a dataset" in said
    assert not at.fleet.commands
    gate = (await promoted(at, "p2"))[0]
    assert isinstance(gate, GateFinished) and gate.alpha == 0.05


async def test_a_stable_revision_that_moved_during_the_look_overturns_the_verdict() -> None:
    at = await promotable()
    inner = at.fleet.answer
    moved: list[bool] = []

    def answer(document: dict[str, Any], inputs: dict[str, Any]) -> Any:
        if not moved:
            moved.append(True)
            serving = at.database.collection("deployments")._documents["triage"]
            serving.update(stable="e" * 64, generation=2)
        return inner(document, inputs)

    at.fleet.answer = answer
    found = await promoted(at)
    assert "propose it again" in vetoed(found)
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and (deployment.stable, deployment.generation) == ("e" * 64, 2)
    assert len(await at.at.revisions.of_pipeline("triage")) == 1


async def test_a_template_is_approved_but_never_deployed_nor_runnable() -> None:
    at = bench()
    document = pipeline("[[ instruction ]] {{ text }}", name="classify_learned", domain="library")
    (approved,) = await at.propose(document, kind="template", author="learner", deploy=True)
    assert isinstance(approved, ChangeApproved) and approved.attestation.kind == "template"
    assert await at.at.deployments.get("classify_learned") is None
    assert await at.at.revisions.of_pipeline("classify_learned") == []


async def test_a_nested_pipeline_that_nobody_approved_is_vetoed() -> None:
    document = pipeline(steps=[{"name": "inner", "type": "pipeline", "pipeline": "ghost", "inputs": {"text": "{{ text }}"}}])
    document["outputs"] = {"answer": "{{ steps.inner.value }}"}
    assert "ghost" in vetoed(await bench().propose(document))


async def test_every_decision_stands_in_a_sound_audit_log() -> None:
    at = await promotable()
    await promoted(at)
    await at.propose(pipeline(steps=[]), "broken")
    entries = await at.at.audit.entries()
    assert await at.at.audit.check() == ()
    assert [entry.action for entry in entries] == [
        "dataset.registered",
        "change.approved",
        "pipeline.deployed",
        "change.approved",
        "pipeline.deployed",
        "change.vetoed",
    ]
    assert entries[3].evidence_hash and entries[3].policy_revision == at.at.policy.revision


async def test_a_crash_after_any_write_leads_to_the_same_end() -> None:
    """Each write of the flow fails once, then the message is delivered again."""
    clean = await promotable()
    expected = await promoted(clean)
    for failing in range(1, 40):
        at = await promotable()
        writes = _failing(at, failing)
        try:
            await promoted(at)
        except UnavailableError:
            assert await promoted(at) == expected, failing
        else:
            assert writes() < failing
            break
    else:
        pytest.fail("the flow never got through")
    assert failing > 5


async def test_queries_answer_what_serves_and_why() -> None:
    at = await promotable()
    await promoted(at)
    answer = await get_pipeline(GetPipeline(pipeline="triage"), at.at)
    assert (answer["generation"], len(answer["revisions"]), len(answer["previous"])) == (2, 2, 1)
    assert answer["document"]["steps"][0]["prompt"] == NEW
    former = await get_pipeline(GetPipeline(pipeline=f"triage@{answer['previous'][0][:12]}"), at.at)
    assert former["document"]["steps"][0]["prompt"] == OLD
    listed = await list_pipelines(ListPipelines(), at.at)
    assert [row["name"] for row in listed["pipelines"]] == ["triage"]
    change = await get_change(GetChange(change_id="p1"), at.at)
    assert (change["status"], change["gate"]["verdict"]) == ("approved", "certified")


def _failing(at: Bench, number: int) -> Any:
    """Makes the given write to the store fail after it was done, as a crash or a lost connection would."""
    done = {"writes": 0}

    def wrap(method: Any) -> Any:
        async def write(*arguments: Any, **named: Any) -> Any:
            result = await method(*arguments, **named)
            done["writes"] += 1
            if done["writes"] == number:
                raise UnavailableError("the store went away after this write")
            return result

        return write

    for name in ("changes", "revisions", "deployments", "audit", "audit_head", "alpha"):
        collection = at.database.collection(name)
        for method in ("insert_once", "update_if"):
            setattr(collection, method, wrap(getattr(collection, method)))
    return lambda: done["writes"]
