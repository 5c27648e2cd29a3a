"""`pipeline`, `parallel_pipeline_executor`, `pipeline_deployer`: runs and changes that a step starts."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from shared.errors import InvalidInputError, NotFoundError, StepLimitError
from shared.events.values import Usage
from shared.pipeline.document import Document, Step
from shared.pipeline.loading import load_document
from shared.pipeline.step import ChildRun, ChildSpec, StepResult
from shared.pipeline.steps import step_type
from tests.fakes.step_context import ScriptedStepContext, run_step

VARIANT = {
    "name": "variant",
    "inputs": {"text": "string"},
    "steps": [{"name": "a", "type": "claude", "prompt": "Label {{ text }}"}],
}
OTHER = {**VARIANT, "name": "other"}


def unknown(pipeline: str) -> Any:
    raise NotFoundError(f"no pipeline {pipeline}")


CASES = [{"id": "c1", "input": {"text": "a"}, "expected": "A"}, {"id": "c2", "input": {"text": "b"}, "expected": "B"}]


def upper(spec: ChildSpec) -> ChildRun:
    """A pipeline that answers in capitals."""
    usage = Usage(calls=1, input_tokens=8, output_tokens=2, cost_usd=0.01)
    return ChildRun(
        run_id=spec.key, digest="d" * 64, status="succeeded", outputs=spec.inputs["text"].upper(), usage=usage, latency_seconds=0.5
    )


def ended(status: Any, **fields: Any) -> ScriptedStepContext:
    context = ScriptedStepContext(names={"ticket": "late", "which": "triage@stable"})
    context.child = lambda spec: ChildRun(run_id="child", digest="d" * 64, status=status, **fields)
    return context


async def test_a_nested_run_gives_the_childs_outputs_and_usage() -> None:
    context = ended("succeeded", outputs={"label": "x"}, usage=Usage(calls=2, input_tokens=5))
    result = await run_step(context, type="pipeline", pipeline="triage@stable", inputs={"ticket": "{{ ticket }}"})
    assert (result.value, result.status, result.usage.calls) == ({"label": "x"}, "ok", 2)
    assert (context.children[0].reference, context.children[0].document, context.children[0].inputs) == (
        "triage@stable",
        None,
        {"ticket": "late"},
    )


async def test_a_degraded_child_is_degraded_and_a_failed_one_fails_with_its_code() -> None:
    assert (await run_step(ended("degraded", outputs=1), type="pipeline", pipeline="triage")).status == "degraded"
    for status in ("failed", "refused", "cancelled"):
        context = ended(status, outputs={"part": 1}, error="no time", error_code="limit_reached:seconds")
        result = await run_step(context, type="pipeline", pipeline="triage")
        assert (result.status, result.value, result.error_code) == ("failed", {"part": 1}, "limit_reached:seconds")
        assert status in result.error and "no time" in result.error


async def test_the_reference_may_be_a_template_but_must_be_a_reference() -> None:
    context = ended("succeeded")
    await run_step(context, type="pipeline", pipeline="{{ which }}")
    assert context.children[0].reference == "triage@stable"
    with pytest.raises(InvalidInputError, match="not a reference"):
        await run_step(ended("succeeded"), type="pipeline", pipeline="{{ ticket }} please")


async def test_the_templates_of_an_inline_document_stay_its_own() -> None:
    context = ended("succeeded")
    await run_step(context, type="pipeline", pipeline=VARIANT, inputs={"text": "{{ ticket }}"})
    assert context.children[0].document == VARIANT
    step = Step.model_validate({"name": "s", "type": "pipeline", "pipeline": VARIANT, "inputs": {"text": "{{ ticket }}"}})
    assert step_type("pipeline").templates(step.options) == (("inputs.text", "{{ ticket }}"),)
    assert step_type("pipeline").nested(step.options) == (VARIANT,)


@pytest.mark.parametrize("pipeline", ["Not A Name", "a@b", "a@1234", "", 3])
def test_a_wrong_reference_is_refused_before_the_run(pipeline: object) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "pipeline", "pipeline": pipeline})


async def test_every_pipeline_runs_on_every_case() -> None:
    context = ScriptedStepContext()
    context.child = upper
    result = await run_step(
        context, type="parallel_pipeline_executor", config={"pipelines": [VARIANT, "triage@stable"], "test_data": CASES}
    )
    assert [(entry["pipeline"], entry["cases"], entry["score"], entry["errors"]) for entry in result.value] == [
        ("variant", 2, 1.0, 0),
        ("triage@stable", 2, 1.0, 0),
    ]
    first = result.value[0]
    assert (first["digest"], first["interval"], first["latency_seconds"], first["cost_usd"], first["tokens"]) == (
        "d" * 64,
        [0, 1],
        0.5,
        0.02,
        20,
    )
    assert (result.status, result.usage.calls, len(context.children), context.max_parallel_children) == ("ok", 4, 4, 4)


async def test_one_revision_is_run_once_on_a_case_however_often_it_is_named() -> None:
    context = ScriptedStepContext()
    context.child = upper
    result = await run_step(
        context, type="parallel_pipeline_executor", config={"pipelines": [VARIANT, dict(VARIANT)], "test_data": CASES}
    )
    assert (len(result.value), len(context.children)) == (2, 2)
    assert {child.key for child in context.children} == {f"{load_document(VARIANT).digest}:{case['id']}" for case in CASES}


async def test_pipelines_may_be_envelopes_and_texts_that_a_model_wrote() -> None:
    text = f"Here it is:\n```yaml\n{yaml.safe_dump(OTHER)}```\nGood luck"
    envelopes = [StepResult(value=text).model_dump(mode="json"), StepResult(value={"pipeline": VARIANT}).model_dump(mode="json")]
    context = ScriptedStepContext(names={"made": envelopes, "data": {"cases": CASES}})
    context.child = upper
    config = {"pipelines": "{{ made }}", "test_data": "{{ data }}", "max_parallel": 2, "graders": ["exact", {"kind": "normalized"}]}
    result = await run_step(context, type="parallel_pipeline_executor", config=config)
    assert [entry["pipeline"] for entry in result.value] == ["other", "variant"]
    assert result.value[0]["scores"] == {"exact": 1.0, "normalized": 1.0}
    assert context.max_parallel_children == 2


async def test_what_is_no_pipeline_is_reported_beside_the_others_and_degrades_the_step() -> None:
    failed = StepResult(status="failed", error="no answer").model_dump(mode="json")
    context = ScriptedStepContext()
    context.child = upper
    config = {"pipelines": ["I would suggest a good pipeline.", failed, VARIANT], "test_data": CASES}
    result = await run_step(context, type="parallel_pipeline_executor", config=config)
    assert result.status == "degraded"
    assert [(entry["errors"], entry["score"]) for entry in result.value] == [(2, None), (2, None), (0, 1.0)]
    assert "no answer" in result.value[1]["error"]


async def test_failed_runs_are_errors_and_never_count_as_success() -> None:
    context = ScriptedStepContext()
    context.child = lambda spec: upper(spec).model_copy(
        update={"status": "degraded" if spec.inputs["text"] == "a" else "succeeded", "error": "fallback"}
    )
    result = await run_step(context, type="parallel_pipeline_executor", config={"pipelines": [VARIANT], "test_data": CASES})
    assert (result.status, result.value[0]["errors"], result.value[0]["score"]) == ("degraded", 1, 0.5)


async def test_data_without_expected_answers_is_measured_but_not_scored() -> None:
    context = ScriptedStepContext()
    context.child = upper
    config = {"pipelines": [VARIANT], "test_data": [{"text": "a"}, {"text": "b", "expected": None}]}
    result = await run_step(context, type="parallel_pipeline_executor", config=config)
    assert (result.value[0]["score"], result.value[0]["cases"], result.status) == (None, 2, "ok")
    assert [child.inputs for child in context.children] == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize("data", [[], "text", [1], [CASES[0], CASES[0]], [{"id": "c", "input": {}}]])
async def test_wrong_test_data_is_refused(data: object) -> None:
    context = ScriptedStepContext(names={"data": data})
    with pytest.raises(InvalidInputError, match="test_data"):
        await run_step(context, type="parallel_pipeline_executor", config={"pipelines": [VARIANT], "test_data": "{{ data }}"})


async def test_numbers_of_pipelines_and_cases_are_bounded() -> None:
    with pytest.raises(StepLimitError, match="max_cases is 1"):
        await run_step(
            ScriptedStepContext(),
            type="parallel_pipeline_executor",
            config={"pipelines": [VARIANT], "test_data": CASES, "max_cases": 1},
        )
    with pytest.raises(StepLimitError, match="at most 20"):
        await run_step(
            ScriptedStepContext(), type="parallel_pipeline_executor", config={"pipelines": [VARIANT] * 21, "test_data": CASES}
        )
    wrong: tuple[Any, ...] = ([], "{{ run.seed }}")
    for pipelines in wrong:
        with pytest.raises(InvalidInputError, match="list of pipelines"):
            await run_step(
                ScriptedStepContext(), type="parallel_pipeline_executor", config={"pipelines": pipelines, "test_data": CASES}
            )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"pipelines": ["a"]},
        {"pipelines": ["a"], "test_data": [], "graders": ["vibes"]},
        {"pipelines": ["a"], "test_data": [], "x": 1},
    ],
)
def test_a_wrong_config_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "parallel_pipeline_executor", "config": config})


async def test_the_deployer_only_proposes() -> None:
    context = ScriptedStepContext(names={"winner": VARIANT})
    result = await run_step(context, type="pipeline_deployer", config={"pipeline": "{{ winner }}", "wait": 5})
    assert result.value == {"change_id": "ch1", "decision": "approved", "rollout_id": ""}
    ((change, wait),) = context.proposals
    assert (change["kind"], change["pipeline"], change["deploy"], wait) == ("promotion", "variant", True, 5)
    assert load_document(change["document"]).digest == load_document(VARIANT).digest


@pytest.mark.parametrize(
    ("strategy", "kind", "deploy"),
    [("immediate", "revision", True), ("shadow", "revision", False), ("gradual_rollout", "promotion", True)],
)
async def test_each_strategy_is_its_own_kind_of_change(strategy: str, kind: str, deploy: bool) -> None:
    context = ScriptedStepContext(names={"why": "faster"})
    config = {"pipeline": VARIANT, "deployment_strategy": strategy, "reason": "because {{ why }}"}
    await run_step(context, type="pipeline_deployer", config=config)
    change = context.proposals[0][0]
    assert (change["kind"], change["deploy"]) == (kind, deploy)
    assert ("rollout" in change) == (strategy == "gradual_rollout")
    assert change["reason"] == f"because faster (deployment strategy: {strategy})"


async def test_the_chosen_one_may_be_the_next_revision_of_another_pipeline_and_be_measured_on_its_cases() -> None:
    context = ScriptedStepContext(names={"winner": VARIANT, "name": "triage"})
    config = {"pipeline": "{{ winner }}", "replaces": "{{ name }}", "dataset_id": "tickets"}
    await run_step(context, type="pipeline_deployer", config=config)
    change = context.proposals[0][0]
    assert (change["pipeline"], change["document"]["name"], change["dataset_id"]) == ("triage", "triage", "tickets")


async def test_a_veto_is_an_answer_and_a_missing_decision_is_said() -> None:
    context = ScriptedStepContext()
    context.decision = {"change_id": "c", "decision": "vetoed", "rollout_id": ""}
    vetoed = await run_step(context, type="pipeline_deployer", config={"pipeline": VARIANT})
    assert (vetoed.status, vetoed.value["decision"], vetoed.warnings) == ("ok", "vetoed", ())
    context.decision = {"change_id": "c", "decision": "pending", "rollout_id": ""}
    pending = await run_step(context, type="pipeline_deployer", config={"pipeline": VARIANT, "wait": 0})
    assert "no decision within 0.0 s" in pending.warnings[0]


async def test_a_reference_is_looked_up() -> None:
    context = ScriptedStepContext()
    context.functions["get_pipeline"] = lambda pipeline: {"name": pipeline, "document": VARIANT}
    await run_step(context, type="pipeline_deployer", config={"pipeline": "variant@stable"})
    assert context.function_calls == [("get_pipeline", {"pipeline": "variant@stable"})]
    context.functions["get_pipeline"] = lambda pipeline: {"name": pipeline, "document": None}
    with pytest.raises(InvalidInputError, match="no document"):
        await run_step(context, type="pipeline_deployer", config={"pipeline": "variant@stable"})


def digest_of(document: dict[str, Any]) -> str:
    loaded: Document = load_document(document)
    return loaded.digest


@pytest.mark.parametrize("named", ["other", "Other ", "2", 2, digest_of(OTHER)[:12], f"other@{digest_of(OTHER)[:8]}"])
async def test_the_winner_may_be_named_among_candidates(named: object) -> None:
    context = ScriptedStepContext(names={"winner": named, "made": ["no pipeline", OTHER]})
    await run_step(context, type="pipeline_deployer", config={"pipeline": "{{ winner }}", "candidates": "{{ made }}"})
    assert context.proposals[0][0]["pipeline"] == "other"


async def test_a_name_that_several_candidates_have_is_refused_until_the_digest_is_said() -> None:
    twin = {**OTHER, "description": "The other other."}
    config = {"pipeline": "{{ winner }}", "candidates": [OTHER, twin]}
    context = ScriptedStepContext(names={"winner": "other"})
    with pytest.raises(InvalidInputError, match=f"names 2 of the candidates: say which of other@{digest_of(OTHER)[:12]}"):
        await run_step(context, type="pipeline_deployer", config=config)
    context = ScriptedStepContext(names={"winner": f"other@{digest_of(twin)[:12]}"})
    await run_step(context, type="pipeline_deployer", config=config)
    assert context.proposals[0][0]["document"]["description"] == "The other other."


@pytest.mark.parametrize("named", ["variant_z", "The second one, clearly.", "other@00000000"])
async def test_a_choice_that_names_no_candidate_says_which_there_are(named: str) -> None:
    context = ScriptedStepContext(names={"winner": named})
    context.functions["get_pipeline"] = unknown
    with pytest.raises(InvalidInputError, match="names none of the candidates other, nor any other pipeline"):
        config = {"pipeline": "{{ winner }}", "candidates": ["no pipeline", OTHER]}
        await run_step(context, type="pipeline_deployer", config=config)
    assert context.proposals == []


async def test_different_documents_of_one_name_are_told_by_their_digests() -> None:
    twin = {**VARIANT, "description": "Another one."}
    context = ScriptedStepContext()
    context.child = upper
    config = {"pipelines": [VARIANT, twin, VARIANT, OTHER], "test_data": CASES}
    result = await run_step(context, type="parallel_pipeline_executor", config=config)
    first, second = (f"variant@{digest_of(each)[:12]}" for each in (VARIANT, twin))
    assert [entry["pipeline"] for entry in result.value] == [first, second, first, "other"]


async def test_nothing_is_proposed_where_the_winner_is_no_pipeline() -> None:
    winners: tuple[Any, ...] = (
        "The second one, clearly.",
        {"steps": []},
        None,
        {"name": "x", "steps": [{"name": "a", "type": "magic"}]},
    )
    for winner in winners:
        context = ScriptedStepContext(names={"winner": winner})
        with pytest.raises(InvalidInputError):
            await run_step(context, type="pipeline_deployer", config={"pipeline": "{{ winner }}"})
        assert context.proposals == []


def test_static_facts_of_the_deployer() -> None:
    step = Step.model_validate({"name": "s", "type": "pipeline_deployer", "config": {"pipeline": VARIANT}})
    kind = step_type("pipeline_deployer")
    assert (kind.nested(step.options), kind.templates(step.options), kind.functions(step.options)) == (
        (VARIANT,),
        (),
        ("get_pipeline",),
    )
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "pipeline_deployer", "config": {"pipeline": "a", "deployment_strategy": "yolo"}})
