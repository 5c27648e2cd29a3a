"""`claude_batch` and `parallel_claude`: several prompts of one step."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from shared.errors import InvalidInputError, LimitReachedError, ProviderError, ProviderRefusedError, StepLimitError
from shared.pipeline.completion import Completion, CompletionRequest
from shared.pipeline.document import Step
from shared.pipeline.steps import step_type
from tests.fakes.step_context import ScriptedStepContext, completion, run_step


def echo(request: CompletionRequest) -> str:
    return f"<{request.messages[-1].text}>"


def fail_on(word: str):  # type: ignore[no-untyped-def]
    def reply(request: CompletionRequest) -> Completion | Exception:
        if word in request.messages[-1].text:
            return ProviderRefusedError("blocked")
        return completion(echo(request))

    return reply


async def test_a_batch_of_three_prompts_makes_three_calls_with_non_empty_text_in_order() -> None:
    context = ScriptedStepContext(echo)
    result = await run_step(context, type="claude_batch", prompts=["one", "two", "three"])
    assert [each["value"] for each in result.value] == ["<one>", "<two>", "<three>"]
    assert len(context.requests) == 3
    assert all(each["text"] and each["status"] == "ok" and each["usage"]["calls"] == 1 for each in result.value)
    assert (result.attempts, result.usage.calls, result.status, result.model) == (3, 3, "ok", "fake-model")


async def test_concurrency_never_exceeds_its_cap() -> None:
    context = ScriptedStepContext(echo)
    await run_step(context, type="claude_batch", prompts=[f"p{n}" for n in range(12)], max_parallel=4)
    assert context.load.most_at_once == 4


async def test_tasks_of_a_batch_may_say_more_than_a_prompt() -> None:
    context = ScriptedStepContext('{"n": 1}')
    task = {
        "prompt": "x",
        "schema": {"n": "integer"},
        "model": "m",
        "max_tokens": 7,
        "system": "S",
        "temperature": 0,
        "timeout_seconds": 2,
    }
    result = await run_step(context, type="claude_batch", tasks=[task], max_tokens=99, timeout_seconds=50)
    assert result.value[0]["value"] == {"n": 1}
    request = context.requests[0]
    assert (request.model, request.max_tokens, request.system, request.temperature, request.timeout_seconds) == ("m", 7, "S", 0, 2)


async def test_prompts_may_come_from_a_template_and_are_never_expanded_again() -> None:
    context = ScriptedStepContext(echo, names={"ideas": ["a {{ secret }}", "b {% if %}"]})
    result = await run_step(context, type="claude_batch", prompts="{{ ideas }}")
    assert [request.messages[0].text for request in context.requests] == ["a {{ secret }}", "b {% if %}"]
    assert result.status == "ok"


async def test_a_template_of_prompts_must_give_few_enough_texts() -> None:
    with pytest.raises(StepLimitError, match="max_tasks is 2"):
        await run_step(
            ScriptedStepContext(echo, names={"ideas": ["a", "b", "c"]}), type="claude_batch", prompts="{{ ideas }}", max_tasks=2
        )
    for wrong in ("text", [], [1], [""]):
        with pytest.raises(InvalidInputError, match="list of texts"):
            await run_step(ScriptedStepContext(echo, names={"ideas": wrong}), type="claude_batch", prompts="{{ ideas }}")


async def test_one_failed_prompt_fails_a_batch_but_keeps_the_other_answers() -> None:
    result = await run_step(ScriptedStepContext(fail_on("two")), type="claude_batch", prompts=["one", "two", "three"])
    assert (result.status, result.error_code) == ("failed", "provider_refused")
    assert [each["value"] for each in result.value] == ["<one>", None, "<three>"]
    assert "1 of 3 tasks failed" in result.error


async def test_enough_good_answers_are_degraded_and_never_ok() -> None:
    result = await run_step(
        ScriptedStepContext(fail_on("two")), type="claude_batch", prompts=["one", "two", "three"], min_success=2
    )
    assert (result.status, result.error) == ("degraded", "")
    assert "blocked" in result.warnings[0]


async def test_two_successes_are_counted_as_two() -> None:
    result = await run_step(
        ScriptedStepContext(fail_on("two")), type="claude_batch", prompts=["one", "two", "three"], min_success=3
    )
    assert result.status == "failed"
    assert sum(each["status"] == "ok" for each in result.value) == 2


async def test_a_task_that_takes_too_long_is_cut_off_and_fails_as_a_time_out() -> None:
    context = ScriptedStepContext("x")
    cancelled = []

    async def stuck(request: CompletionRequest) -> Completion:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(request)
            raise
        raise AssertionError("never")

    context.complete = stuck  # type: ignore[method-assign]
    result = await run_step(context, type="claude_batch", prompts=["one"], task_timeout_seconds=0.02)
    assert result.value[0]["error_code"] == "provider"
    assert "no answer within 0.02 s" in result.error
    assert len(cancelled) == 1


async def test_a_limit_of_the_run_ends_the_whole_batch() -> None:
    context = ScriptedStepContext("fine", LimitReachedError("calls", "used up"))
    with pytest.raises(LimitReachedError, match="used up"):
        await run_step(context, type="claude_batch", prompts=["one", "two", "three"], max_parallel=1)
    assert len(context.requests) == 2


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"prompts": []},
        {"prompts": ["a"], "tasks": ["b"]},
        {"prompts": [""]},
        {"prompts": [{"text": "a"}]},
        {"prompts": ["a"], "max_parallel": 0},
        {"prompts": ["a"], "mode": "later"},
        {"prompts": ["a"], "poll_seconds": 0},
        {"prompts": ["a"] * 101},
    ],
)
def test_a_batch_that_makes_no_sense_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "claude_batch", **keys})


def test_a_batch_cannot_ask_for_more_successes_than_prompts() -> None:
    step = Step.model_validate({"name": "s", "type": "claude_batch", "prompts": ["a"], "min_success": 2})
    assert [problem.path for problem in step_type("claude_batch").problems(step)] == ["min_success"]


async def test_a_batch_handed_to_the_provider_gives_the_same_envelopes() -> None:
    keys: dict[str, object] = {"type": "claude_batch", "prompts": ["one", "two", "three"], "min_success": 2}
    handed = ScriptedStepContext(fail_on("two"))
    result = await run_step(handed, **keys, mode="message_batches", poll_seconds=7)
    alike = await run_step(ScriptedStepContext(fail_on("two")), **keys)
    times = {"latency_seconds": 0.0}
    assert [{**each, **times} for each in result.value] == [{**each, **times} for each in alike.value]
    assert (result.status, result.warnings) == (alike.status, alike.warnings) == ("degraded", alike.warnings)
    ((requests, poll_seconds),) = handed.batches
    assert ([request.messages[0].text for request in requests], poll_seconds) == (["one", "two", "three"], 7)


async def test_a_prompt_that_cannot_be_made_is_not_handed_over() -> None:
    context = ScriptedStepContext(echo)
    result = await run_step(context, type="claude_batch", prompts=["a", "{{ gone }}", "c"], mode="message_batches", min_success=1)
    assert [each["value"] for each in result.value] == ["<a>", None, "<c>"]
    assert result.value[1]["error_code"] == "undefined_name"
    assert len(context.batches[0][0]) == 2


def test_what_a_providers_batch_cannot_do_is_a_problem_before_the_run() -> None:
    keys = {"prompts": ["a", {"prompt": "b", "timeout_seconds": 3}], "task_timeout_seconds": 3, "cache": True}
    for mode, paths in (("parallel", []), ("message_batches", ["cache", "task_timeout_seconds", "timeout_seconds"])):
        step = Step.model_validate({"name": "s", "type": "claude_batch", "mode": mode, **keys})
        assert [problem.path for problem in step_type("claude_batch").problems(step)] == paths


SHAPES = [
    [{"good": {"prompt": "Find good"}}, {"bad": {"prompt": "Find bad"}}],
    [{"good": "Find good"}, {"bad": "Find bad"}],
    {"good": "Find good", "bad": "Find bad"},
    {"good": {"prompt": "Find good"}, "bad": {"prompt": "Find bad"}},
    [{"id": "good", "prompt": "Find good"}, {"name": "bad", "prompt": "Find bad"}],
]


@pytest.mark.parametrize("tasks", SHAPES)
async def test_every_shape_of_tasks_gives_a_map_of_envelopes(tasks: object) -> None:
    result = await run_step(ScriptedStepContext(echo), type="parallel_claude", tasks=tasks)
    assert {name: each["value"] for name, each in result.value.items()} == {"good": "<Find good>", "bad": "<Find bad>"}
    assert list(result.value) == ["good", "bad"]


@pytest.mark.parametrize("tasks", SHAPES)
def test_every_shape_of_tasks_is_one_and_the_same_step(tasks: object) -> None:
    written = Step.model_validate({"name": "s", "type": "parallel_claude", "tasks": tasks})
    usual = Step.model_validate({"name": "s", "type": "parallel_claude", "tasks": SHAPES[0]})
    assert written.flat() == usual.flat()
    assert Step.model_validate(written.flat()) == written


async def test_a_list_of_ids_shares_the_prompt_of_the_step() -> None:
    context = ScriptedStepContext(echo, names={"run_log": "log"})
    result = await run_step(context, type="parallel_claude", prompt="Look at {{ run_log }}", tasks=["best_practices", "mistakes"])
    assert result.value["best_practices"]["value"] == "<Look at log\n\nTask: best practices>"
    assert len(context.requests) == 2


def test_ids_without_any_prompt_are_a_problem() -> None:
    step = Step.model_validate({"name": "s", "type": "parallel_claude", "tasks": ["a", {"b": "Do b"}]})
    (problem,) = step_type("parallel_claude").problems(step)
    assert "no prompt for a" in problem.reason


async def test_each_task_has_its_own_failure_policy() -> None:
    tasks = {"good": "fine", "bad": "two"}
    kept = await run_step(ScriptedStepContext(fail_on("two")), type="parallel_claude", tasks=tasks, min_success=1)
    assert (kept.status, kept.value["bad"]["status"]) == ("degraded", "failed")
    fatal = {"good": "fine", "bad": {"prompt": "two", "on_error": "fail"}}
    failed = await run_step(ScriptedStepContext(fail_on("two")), type="parallel_claude", tasks=fatal, min_success=1)
    assert (failed.status, failed.value["good"]["value"]) == ("failed", "<fine>")


async def test_an_undefined_name_in_one_task_fails_that_task_only() -> None:
    result = await run_step(ScriptedStepContext(echo), type="parallel_claude", tasks={"a": "x", "b": "{{ gone }}"}, min_success=1)
    assert (result.status, result.value["b"]["error_code"], result.value["a"]["status"]) == ("degraded", "undefined_name", "ok")


async def test_a_transient_store_error_is_retried_by_the_runner_not_swallowed() -> None:
    with pytest.raises(LimitReachedError):
        await run_step(ScriptedStepContext(LimitReachedError("tokens", "used up")), type="parallel_claude", tasks={"a": "x"})
    overloaded = await run_step(ScriptedStepContext(ProviderError("overload", "busy")), type="parallel_claude", tasks={"a": "x"})
    assert (overloaded.status, overloaded.error_code) == ("failed", "provider")


@pytest.mark.parametrize("tasks", [[], {}, ["a", "a"], [{"a": "x", "b": "y"}], [3], {"a b": "x"}, {"a": {"text": "x"}}, "a"])
def test_tasks_that_make_no_sense_are_refused(tasks: object) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "parallel_claude", "prompt": "p", "tasks": tasks})


def test_templates_of_tasks_are_known_with_their_place() -> None:
    step = Step.model_validate({"name": "s", "type": "parallel_claude", "tasks": {"a": "see {{ x }}", "b": "no"}})
    assert step_type("parallel_claude").templates(step.options) == (("tasks.a.prompt", "see {{ x }}"),)
    batch = Step.model_validate({"name": "s", "type": "claude_batch", "prompts": ["see {{ x }}"]})
    assert step_type("claude_batch").templates(batch.options) == (("prompts[0].prompt", "see {{ x }}"),)
    assert step_type("claude_batch").max_calls(batch.options) == 1
