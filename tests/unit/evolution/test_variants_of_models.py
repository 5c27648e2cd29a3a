"""Variants that a model made: grounded in the stable revision, dropped with a reason where they are none."""

from __future__ import annotations

from typing import Any

import pytest

from services.evolution.domain.variants import ground
from services.evolution.use_cases.experiments import start_experiment
from shared.events.changes import ProposeChange
from shared.events.runs import ExecuteRun, RunFinished
from shared.pipeline.loading import load_document
from tests.fakes.evolution_world import finished, seed_document
from tests.unit.evolution.test_experimenting import Lab, command, ended, lab, variant

STABLE = load_document(seed_document())


def draft(*prompts: str) -> dict[str, Any]:
    steps = [{"name": f"Step {number}", "type": "claude", "prompt": prompt} for number, prompt in enumerate(prompts)]
    return {"name": "variant_a", "steps": steps}


def test_the_answer_stays_what_it_was_and_the_prompts_are_the_models() -> None:
    document = load_document(ground(STABLE.canonical(), draft("Think about {{ text }}.", "Now {{ text }}: decide.")))
    first, last = document.steps
    assert (document.name, document.inputs, document.outputs) == (STABLE.name, STABLE.inputs, STABLE.outputs)
    assert (last.name, last.output_schema, last.max_tokens) == ("classify", STABLE.steps[0].output_schema, 24)
    assert first.name == "step_0_1" and last.prompt is not None
    assert last.prompt.startswith("Now {{ text }}: decide.") and "steps.step_0_1.text" in last.prompt


def test_a_prompt_that_forgets_the_item_is_given_it() -> None:
    (step,) = load_document(ground(STABLE.canonical(), draft("Decide."))).steps
    assert step.prompt is not None and "{{ text }}" in step.prompt


@pytest.mark.parametrize("proposal", [None, "text", {}, {"steps": "x"}, {"steps": []}, draft(*"abcde"), {"steps": [{"name": "a"}]}])
def test_what_is_no_proposal_is_told(proposal: Any) -> None:
    with pytest.raises(ValueError, match=r"steps|prompt"):
        ground(STABLE.canonical(), proposal)


def generating(on: Lab, *made: Any, status: str = "succeeded") -> None:
    def answers(order: ExecuteRun) -> RunFinished | None:
        if order.pipeline == "pipeline_ab_testing":
            return finished(order, status, {"variants": list(made), "winner": "variant_a"}, "no model")
        return on.world.runs._answer(order)

    on.world.runs.answers = answers


async def test_a_generated_variant_competes_beside_a_given_one_and_garbage_is_dropped_with_its_reason() -> None:
    on = lab()
    envelope = {"status": "ok", "value": draft("[95] {{ text }}")}
    generating(on, envelope, "no pipeline", draft("{{ broken"))
    order = command(variant("given", 60), generate=True)
    ((_, change),) = await start_experiment(order, on.at)
    assert isinstance(change, ProposeChange) and "[95]" in str(change.document)
    record = await on.at.experiments.get("exp-1")
    assert record is not None
    verdicts = {each["label"]: (each["verdict"], each["origin"]) for each in record["pending"]["variants"]}
    assert verdicts["generated-a"] == ("better", "generated") and verdicts["given"][1] == "file"
    assert verdicts["generated-b"][0] == verdicts["generated-c"][0] == "invalid"


async def test_where_the_meta_pipeline_fails_the_given_variants_are_compared_and_that_is_told() -> None:
    on = lab()
    generating(on, status="failed")
    ((_, change),) = await start_experiment(command(variant("given", 95), generate=True), on.at)
    assert isinstance(change, ProposeChange)
    record = await on.at.experiments.get("exp-1")
    assert record is not None and "ended failed without variants: no model" in record["pending"]["reasons"][0]


async def test_where_only_garbage_is_generated_the_experiment_is_refused_with_every_reason() -> None:
    on = lab()
    generating(on, "no pipeline", draft("{{ broken"))
    answer = await ended(on, command(generate=True))
    assert answer.outcome == "refused" and len(answer.problems) >= 2
    generating(on, draft("[95] {{ text }}"))
    ((effect, _),) = await start_experiment(command(generate=True), on.at)
    assert effect == "propose"


async def test_variants_are_generated_once_however_often_it_is_tried() -> None:
    on = lab(crash_after=40)
    generating(on, draft("[95] {{ text }}"), draft("[50] {{ text }}"))
    order = command(generate=True)
    try:
        await start_experiment(order, on.at)
    except RuntimeError:
        generating(on, draft("[10] {{ text }}"))
    ((_, change),) = await start_experiment(order, on.at)
    assert isinstance(change, ProposeChange) and "[95]" in str(change.document)
    assert len(on.world.runs.started) == len(set(on.world.runs.started))
