"""`claude`, `gemini`, `claude_extract`, `gemini_instructor`: one answer, its schema, its functions."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from pydantic import ValidationError

from shared.errors import InvalidInputError, LimitReachedError, ProviderError, ProviderRefusedError
from shared.pipeline.completion import CompletionRequest, ToolCall
from shared.pipeline.document import Step
from shared.pipeline.step import StepContext
from shared.pipeline.steps import step_type
from shared.pipeline.template_text import DATA_RULE
from tests.fakes.step_context import ScriptedStepContext, completion, run_step

LABEL = {"type": "object", "properties": {"label": {"enum": ["spam", "ham"]}}, "required": ["label"], "additionalProperties": False}


def test_the_scripted_context_is_a_step_context() -> None:
    context: StepContext = ScriptedStepContext()
    assert context.run.pipeline == "p"


@pytest.mark.parametrize("family", ["claude", "gemini"])
async def test_a_completion_step_answers_with_text_of_its_own_family(family: str) -> None:
    context = ScriptedStepContext(completion("hello", model="m-1"))
    result = await run_step(context, type=family, prompt="Say hello")
    assert (result.value, result.text, result.status, result.attempts) == ("hello", "hello", "ok", 1)
    assert (result.provider, result.model, result.usage.calls, result.usage.input_tokens) == ("local", "m-1", 1, 10)
    assert context.requests[0].family == family


async def test_every_common_option_reaches_the_request() -> None:
    context = ScriptedStepContext("x", names={"who": "Ann"}, seed=41)
    context.section = '<data name="ticket">late</data>'
    step = {"prompt": "Greet {{ who }}", "system": "You are {{ who }}'s aide", "model": "m", "temperature": 0.5, "max_tokens": 9}
    await run_step(context, type="claude", timeout_seconds=3, **step)
    request = context.requests[0]
    assert (request.model, request.temperature, request.max_tokens, request.seed, request.timeout_seconds) == ("m", 0.5, 9, 41, 3)
    assert request.messages[0].text == 'Greet Ann\n\n<data name="ticket">late</data>'
    assert request.system == f"You are Ann's aide\n\n{DATA_RULE}"


async def test_a_prompt_without_inserted_data_carries_no_rule_about_data() -> None:
    context = ScriptedStepContext("x")
    await run_step(context, type="claude", prompt="Say x")
    assert context.requests[0].system == ""


async def test_a_structured_result_inside_a_prompt_renders_as_json() -> None:
    context = ScriptedStepContext("x", names={"found": {"labels": ["a", "b"], "ok": True}})
    await run_step(context, type="claude", prompt="Use {{ found }} now")
    assert '{"labels": ["a", "b"], "ok": true}' in context.requests[0].messages[0].text


async def test_an_undefined_name_is_an_error_and_no_call_is_made() -> None:
    context = ScriptedStepContext("x")
    with pytest.raises(InvalidInputError, match="nobody"):
        await run_step(context, type="claude", prompt="Greet {{ nobody }}")
    assert context.requests == []


async def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="prompt is empty"):
        await run_step(ScriptedStepContext("x", names={"text": " "}), type="claude", prompt="{{ text }}")


async def test_a_schema_gives_the_object() -> None:
    context = ScriptedStepContext('{"label": "spam"}')
    result = await run_step(context, type="claude", prompt="Classify", schema=LABEL)
    assert result.value == {"label": "spam"}
    assert context.requests[0].json_schema == LABEL


async def test_json_in_a_fenced_block_is_read_with_a_warning() -> None:
    result = await run_step(ScriptedStepContext('Sure:\n```json\n{"label": "ham"}\n```'), type="claude", prompt="x", schema=LABEL)
    assert (result.value, result.status) == ({"label": "ham"}, "ok")
    assert "fenced" in result.warnings[0]


@pytest.mark.parametrize(
    "text", ["not json", '{"label": "other"}', "{}", '{"label": "spam", "more": 1}', '{"label": NaN}', "", "[" * 100_000]
)
async def test_an_answer_outside_the_schema_is_a_provider_error(text: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await run_step(ScriptedStepContext(text), type="claude", prompt="x", schema=LABEL)
    assert caught.value.kind == "invalid_answer"


async def test_an_answer_cut_by_length_fails_where_a_schema_is_asked() -> None:
    context = ScriptedStepContext(completion('{"label": "spam"}', stop="max_tokens"))
    with pytest.raises(ProviderError, match="cut after 5 tokens"):
        await run_step(context, type="claude", prompt="x", schema=LABEL)


async def test_cut_text_is_kept_with_a_warning() -> None:
    result = await run_step(ScriptedStepContext(completion("half of", stop="max_tokens")), type="claude", prompt="x")
    assert result.value == "half of"
    assert "cut after 5 tokens" in result.warnings[0]


async def test_a_refusal_and_an_empty_answer_are_errors() -> None:
    with pytest.raises(ProviderRefusedError):
        await run_step(ScriptedStepContext(completion("no", stop="refused")), type="claude", prompt="x")
    with pytest.raises(ProviderError, match="no text"):
        await run_step(ScriptedStepContext(completion("  ")), type="gemini", prompt="x")


async def test_a_cached_answer_is_used_only_where_the_step_allows_it() -> None:
    context = ScriptedStepContext("fresh")
    context.cached = lambda request: completion("kept")
    fresh = await run_step(context, type="claude", prompt="x")
    kept = await run_step(context, type="claude", prompt="x", cache=True)
    assert (fresh.value, fresh.cache_hit) == ("fresh", False)
    assert (kept.value, kept.cache_hit, kept.attempts, kept.usage.calls) == ("kept", True, 0, 0)


async def test_provider_errors_limits_and_cancellation_reach_the_runner() -> None:
    for error in (ProviderError("rate_limit", "slow"), LimitReachedError("calls", "no more"), asyncio.CancelledError()):
        context = ScriptedStepContext(partial(_raise, error))
        with pytest.raises(type(error)):
            await run_step(context, type="claude", prompt="x")


def _raise(error: BaseException, _: CompletionRequest) -> str:
    raise error


async def test_function_calls_are_validated_executed_and_answered() -> None:
    call = ToolCall(id="1", name="arithmetic", arguments={"expression": "6 * 7"})
    context = ScriptedStepContext(completion(calls=[call]), "it is 42")
    result = await run_step(context, type="claude", prompt="6*7?", functions=["arithmetic"])
    assert (result.value, result.attempts, result.usage.calls) == ("it is 42", 2, 2)
    answered = context.requests[1].messages[-1].tool_answers[0]
    assert (answered.content, answered.is_error, answered.call_id) == (42, False, "1")
    assert [tool.name for tool in context.requests[0].tools] == ["arithmetic"]


async def test_tools_is_another_word_and_both_are_refused() -> None:
    context = ScriptedStepContext("ok")
    await run_step(context, type="gemini", prompt="x", tools={"vote": {"description": "Count"}}, tool_choice="any")
    assert (context.requests[0].tools[0].description, context.requests[0].tool_choice) == ("Count", "any")
    with pytest.raises(ValidationError, match="the same thing"):
        await run_step(context, type="gemini", prompt="x", tools=["vote"], functions=["vote"])


async def test_the_model_may_call_at_most_max_turns_times_and_then_must_answer() -> None:
    call = ToolCall(id="1", name="arithmetic", arguments={"expression": "1"})
    context = ScriptedStepContext(lambda request: "done" if request.tool_choice == "none" else completion(calls=[call]))
    result = await run_step(context, type="claude", prompt="x", functions=["arithmetic"], max_turns=3)
    assert (result.value, len(context.requests), len(context.function_calls)) == ("done", 4, 3)


async def test_a_structured_answer_after_functions_is_asked_for_with_the_schema() -> None:
    call = ToolCall(id="1", name="arithmetic", arguments={"expression": "1"})
    context = ScriptedStepContext(completion(calls=[call]), "spam, I think", '{"label": "spam"}')
    result = await run_step(context, type="claude", prompt="x", functions=["arithmetic"], schema=LABEL)
    assert result.value == {"label": "spam"}
    assert [request.json_schema for request in context.requests] == [None, None, LABEL]
    assert context.requests[2].tools and context.requests[2].tool_choice == "none"


async def test_all_function_calls_failing_is_degraded() -> None:
    bad = ToolCall(id="1", name="arithmetic", arguments={"expression": "1/0"})
    result = await run_step(ScriptedStepContext(completion(calls=[bad]), "?"), type="claude", prompt="x", functions=["arithmetic"])
    assert (result.status, result.warnings) == ("degraded", ("every function call failed",))


async def test_extract_asks_again_with_the_errors_and_counts_every_attempt() -> None:
    context = ScriptedStepContext("nonsense", '{"label": "maybe"}', '{"label": "ham"}')
    result = await run_step(context, type="claude_extract", prompt="x", schema=LABEL)
    assert (result.value, result.attempts, result.usage.calls, len(result.warnings)) == ({"label": "ham"}, 3, 3, 2)
    assert "$.label" in context.requests[2].messages[-1].text
    assert [message.role for message in context.requests[2].messages] == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize("reasks", [0, 2])
async def test_extract_fails_when_its_asks_are_used_up(reasks: int) -> None:
    context = ScriptedStepContext("nonsense")
    with pytest.raises(ProviderError) as caught:
        await run_step(context, type="claude_extract", prompt="x", schema=LABEL, max_reasks=reasks)
    assert (caught.value.kind, len(context.requests)) == ("invalid_answer", reasks + 1)


async def test_extract_gives_a_cut_answer_more_room() -> None:
    context = ScriptedStepContext(completion('{"label"', stop="max_tokens"), '{"label": "ham"}')
    result = await run_step(context, type="claude_extract", prompt="x", schema=LABEL, max_tokens=10)
    assert result.value == {"label": "ham"}
    assert [request.max_tokens for request in context.requests] == [10, 20]


async def test_extract_passes_provider_failures_on_at_once() -> None:
    context = ScriptedStepContext(ProviderError("overload", "busy"))
    with pytest.raises(ProviderError, match="busy"):
        await run_step(context, type="claude_extract", prompt="x", schema=LABEL)
    assert len(context.requests) == 1


async def test_extract_uses_a_cached_answer_and_needs_a_schema() -> None:
    context = ScriptedStepContext("x")
    context.cached = lambda request: completion('{"label": "ham"}')
    assert (await run_step(context, type="claude_extract", prompt="x", schema=LABEL, cache=True)).cache_hit
    with pytest.raises(InvalidInputError, match="schema"):
        await run_step(context, type="claude_extract", prompt="x")
    problems = step_type("claude_extract").problems(Step.model_validate({"name": "s", "type": "claude_extract"}))
    assert [problem.path for problem in problems] == ["prompt", "schema"]


async def test_instructor_returns_the_answer_and_every_call_with_its_result() -> None:
    call = ToolCall(id="1", name="aggregate_metrics", arguments={"metrics_types": ["latency", "error_rate"]})
    context = ScriptedStepContext(completion(calls=[call]), "all is well")
    context.functions["aggregate_metrics"] = lambda metrics_types: {"latency": 0.2}
    uses = [{"name": "aggregate_metrics", "description": "Aggregate", "parameters": {"metrics_types": ["latency", "error_rate"]}}]
    result = await run_step(context, type="gemini_instructor", prompt="Gather", functions=uses)
    assert result.value == {
        "answer": "all is well",
        "calls": [{"name": "aggregate_metrics", "arguments": call.arguments, "result": {"latency": 0.2}, "error": ""}],
    }
    assert context.requests[0].tool_choice == "any" and context.requests[1].tool_choice == "auto"
    assert context.requests[0].family == "gemini"


async def test_instructor_answers_bad_calls_with_what_is_wrong() -> None:
    outside = ToolCall(id="1", name="aggregate_metrics", arguments={"metrics_types": ["colour"]})
    unknown = ToolCall(id="2", name="format_disk")
    context = ScriptedStepContext(completion(calls=[outside, unknown]), "sorry")
    uses = [{"name": "aggregate_metrics", "parameters": {"metrics_types": ["latency"]}}]
    result = await run_step(context, type="gemini_instructor", prompt="Gather", functions=uses)
    assert result.status == "degraded"
    assert ["metrics_types" in result.value["calls"][0]["error"], "no function" in result.value["calls"][1]["error"]] == [
        True,
        True,
    ]
    assert all(answer.is_error for answer in context.requests[1].messages[-1].tool_answers)
    assert context.function_calls == []


async def test_instructor_says_when_nothing_was_called_and_works_without_functions() -> None:
    silent = await run_step(ScriptedStepContext("hm"), type="gemini_instructor", prompt="x", functions=["vote"], tool_choice="auto")
    assert silent.warnings == ("the model called no function",)
    bare = await run_step(ScriptedStepContext('{"label": "ham"}'), type="gemini_instructor", prompt="x", schema=LABEL)
    assert bare.value == {"answer": {"label": "ham"}, "calls": []}


async def test_a_store_that_is_down_is_the_runners_matter_not_the_models() -> None:
    from shared.errors import UnavailableError

    def down() -> None:
        raise UnavailableError("no answer")

    call = ToolCall(id="1", name="check_component_health")
    context = ScriptedStepContext(completion(calls=[call]), "x")
    context.functions["check_component_health"] = down
    with pytest.raises(UnavailableError):
        await run_step(context, type="gemini_instructor", prompt="x", functions=["check_component_health"])


def test_static_facts_name_functions_and_bound_the_calls() -> None:
    step = Step.model_validate({"name": "s", "type": "claude", "prompt": "x", "functions": ["vote"], "max_turns": 2})
    kind = step_type("claude")
    assert (kind.functions(step.options), kind.max_calls(step.options), kind.families) == (("vote",), 3, ("claude",))
    assert step_type("claude_extract").max_calls(step_type("claude_extract").options()) == 3
    assert step_type("gemini_instructor").max_calls(step_type("gemini_instructor").options()) == 1


@pytest.mark.parametrize(
    "name", ["claude", "gemini", "claude_extract", "gemini_instructor", "claude_smart", "claude_robust", "claude_session"]
)
def test_an_unknown_option_is_an_error(name: str) -> None:
    with pytest.raises(ValidationError, match="unknown key `colour`"):
        Step.model_validate({"name": "s", "type": name, "prompt": "x", "colour": "red"})
