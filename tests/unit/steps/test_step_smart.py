"""`claude_smart`: the choice of a model and its reason."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.errors import InvalidInputError
from shared.pipeline.document import Step
from shared.pipeline.step import ModelRecord, RunLeft
from tests.fakes.step_context import ScriptedStepContext, run_step

PRESETS = [
    ("development", "claude-haiku-5-5", 512, 0.2),
    ("production", "claude-sonnet-5-5", 1024, 0.2),
    ("analysis", "claude-opus-5-5", 2048, 0.0),
    ("chat", "claude-sonnet-5-5", 1024, 0.7),
    ("test", "claude-haiku-5-5", 256, 0.0),
]


def record(model: str, successes: int, calls: int = 100, **fields: float) -> ModelRecord:
    return ModelRecord.model_validate({"family": "claude", "model": model, "calls": calls, "successes": successes, **fields})


@pytest.mark.parametrize(("preset", "model", "tokens", "temperature"), PRESETS)
async def test_every_preset_chooses_model_tokens_and_temperature(preset: str, model: str, tokens: int, temperature: float) -> None:
    context = ScriptedStepContext("x")
    result = await run_step(context, type="claude_smart", prompt="x", preset=preset)
    request = context.requests[0]
    assert (request.model, request.max_tokens, request.temperature) == (model, tokens, temperature)
    assert (result.selection["preset"], result.selection["model"], result.status) == (preset, model, "ok")
    assert preset in result.selection["reason"]


async def test_where_nothing_is_said_the_environment_bounds_answers() -> None:
    for kind in ("claude_smart", "claude"):
        context = ScriptedStepContext("x", "x", answer_tokens=99, answer_seconds=7.5)
        await run_step(context, type=kind, prompt="x")
        await run_step(context, type=kind, prompt="x", max_tokens=11, timeout_seconds=3)
        assert [(each.max_tokens, each.timeout_seconds) for each in context.requests] == [(99, 7.5), (11, 3)]


async def test_the_environment_gives_the_preset_and_an_unknown_one_is_an_error() -> None:
    context = ScriptedStepContext("x", preset="test")
    assert (await run_step(context, type="claude_smart", prompt="x")).selection["preset"] == "test"
    with pytest.raises(InvalidInputError, match="unknown preset"):
        await run_step(ScriptedStepContext("x", preset="party"), type="claude_smart", prompt="x")


async def test_what_the_step_says_itself_wins_over_the_preset() -> None:
    context = ScriptedStepContext("x")
    result = await run_step(context, type="claude_smart", prompt="x", model="m", max_tokens=3, temperature=0.9)
    request = context.requests[0]
    assert (request.model, request.max_tokens, request.temperature) == ("m", 3, 0.9)
    assert result.selection["reason"] == "the step names its model"


async def test_models_of_the_tiers_may_be_replaced() -> None:
    context = ScriptedStepContext("x")
    await run_step(context, type="claude_smart", prompt="x", preset="test", models={"fast": "tiny"})
    assert context.requests[0].model == "tiny"


async def test_a_model_that_is_surely_better_in_this_domain_is_chosen() -> None:
    context = ScriptedStepContext("x")
    context.records = (record("claude-haiku-5-5", 50), record("claude-opus-5-5", 95))
    result = await run_step(context, type="claude_smart", prompt="x", preset="test")
    assert context.requests[0].model == "claude-opus-5-5"
    assert "95/100 against 50/100" in result.selection["reason"]


@pytest.mark.parametrize("other", [record("claude-opus-5-5", 55), record("claude-opus-5-5", 5, calls=5), record("unlisted", 100)])
async def test_a_lead_that_may_be_chance_changes_nothing(other: ModelRecord) -> None:
    context = ScriptedStepContext("x")
    context.records = (record("claude-haiku-5-5", 50), other)
    await run_step(context, type="claude_smart", prompt="x", preset="test")
    assert context.requests[0].model == "claude-haiku-5-5"


async def test_models_beyond_cost_or_latency_are_not_chosen() -> None:
    context = ScriptedStepContext("x")
    context.records = (
        record("claude-opus-5-5", 99, cost_usd=0.2, latency_seconds=9),
        record("claude-haiku-5-5", 60, cost_usd=0.001),
    )
    for constraint in ({"max_cost_usd": 0.1}, {"max_latency_seconds": 5}):
        result = await run_step(context, type="claude_smart", prompt="x", preset="analysis", **constraint)
        assert context.requests[-1].model == "claude-haiku-5-5"
        assert "beyond the cost or latency" in result.selection["reason"]


@pytest.mark.parametrize("left", [RunLeft(seconds=100, cost_usd=0.1), RunLeft(seconds=5, cost_usd=10)])
async def test_what_a_run_has_left_is_a_bound_too(left: RunLeft) -> None:
    context = ScriptedStepContext("x")
    context.left = left
    context.records = (record("claude-opus-5-5", 99, cost_usd=0.2, latency_seconds=9),)
    result = await run_step(context, type="claude_smart", prompt="x", preset="analysis")
    assert context.requests[-1].model == "claude-haiku-5-5"
    assert "claude-opus-5-5 is beyond what the run has left" in result.selection["reason"]


async def test_where_nothing_fits_into_what_is_left_the_cheapest_is_tried() -> None:
    context = ScriptedStepContext("x")
    context.left = RunLeft(seconds=100, cost_usd=0.001)
    costs = {"claude-haiku-5-5": 0.01, "claude-sonnet-5-5": 0.1, "claude-opus-5-5": 0.2}
    context.records = tuple(record(model, 99, cost_usd=cost) for model, cost in costs.items())
    result = await run_step(context, type="claude_smart", prompt="x", preset="production")
    assert context.requests[-1].model == "claude-haiku-5-5"
    assert result.selection["reason"].endswith("claude-haiku-5-5 is the cheapest")


async def test_where_no_record_can_be_had_the_preset_decides_and_the_reason_says_so() -> None:
    context = ScriptedStepContext("x")
    context.records_missing = "analytics did not answer"
    result = await run_step(context, type="claude_smart", prompt="x", preset="production")
    assert context.requests[-1].model == "claude-sonnet-5-5"
    assert result.selection["reason"].startswith("preset production: ")
    assert result.selection["reason"].endswith("no record of models: analytics did not answer")


async def test_no_model_within_the_constraints_is_an_error() -> None:
    context = ScriptedStepContext("x")
    context.records = (record("only", 99, cost_usd=0.2),)
    with pytest.raises(InvalidInputError, match="every measured model"):
        await run_step(
            context,
            type="claude_smart",
            prompt="x",
            max_cost_usd=0.1,
            models={"fast": "only", "balanced": "only", "strong": "only"},
        )


def test_an_unknown_preset_is_an_error_before_the_run() -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "claude_smart", "prompt": "x", "preset": "party"})
