"""Which models a step called, and how they did, is told with the step."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.domain.limits.listed import LimitList, ProviderLimit
from services.executor.use_cases import fork_run
from shared.errors import ProviderError, ProviderRefusedError
from shared.events.runs import Continuation, ExecuteRun, ForkRun, ModelUse, RunFinished
from shared.pipeline.completion import Completion, CompletionRequest
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel, completion_of


def document(**keys: Any) -> dict[str, Any]:
    ask = {"name": "ask", "type": "claude", "prompt": "?", "context": "none", "model": "m", **keys}
    return {"name": "asking", "steps": [ask]}


def uses(run: RunFinished) -> list[tuple[str, int, int]]:
    return [(use.model, use.calls, use.successes) for step in run.steps for use in step.models]


async def test_an_answer_counts_for_the_model_that_was_asked_for_and_names_the_one_that_served() -> None:
    def served(request: CompletionRequest) -> Completion:
        return completion_of("yes", request).model_copy(update={"model": "m-20261101", "latency_seconds": 0.25})

    run = await ExecutorKit(model=ScriptedModel(served)).trial(document())
    (use,) = run.steps[0].models
    assert use == ModelUse(
        family="claude",
        model="m",
        provider="local",
        served="m-20261101",
        calls=1,
        successes=1,
        usage=run.steps[0].usage,
        latency_seconds=0.25,
    )


async def test_a_model_that_no_step_named_is_known_by_its_answer() -> None:
    assert uses(await ExecutorKit().trial(document(model=None))) == [("scripted-1", 1, 1)]


@pytest.mark.parametrize("error", [ProviderError("overload", "busy"), ProviderRefusedError("no")])
async def test_calls_that_failed_count_without_success(error: Exception) -> None:
    assert uses(await ExecutorKit(model=ScriptedModel([error])).trial(document())) == [("m", 1, 0)]


async def test_failed_attempts_count_beside_the_one_that_succeeded() -> None:
    model = ScriptedModel([ProviderError("overload", "busy"), ProviderError("overload", "busy"), "ok"])
    retry = {"max_attempts": 3, "initial_seconds": 0.01, "max_seconds": 0.01}
    run = await ExecutorKit(model=model).trial(document(retry=retry))
    assert sum(calls for _, calls, _ in uses(run)) == 3
    assert sum(successes for *_, successes in uses(run)) == 1


async def test_an_answer_that_does_not_fit_its_schema_is_no_success() -> None:
    run = await ExecutorKit(model=ScriptedModel(["nonsense"])).trial(document(schema={"label": "string"}))
    assert (run.status, uses(run)) == ("failed", [("m", 1, 0)])


async def test_a_call_that_takes_longer_than_its_step_may_is_a_failed_call() -> None:
    run = await ExecutorKit(model=ScriptedModel(delay_seconds=30)).trial(document(timeout_seconds=0.05))
    assert uses(run) == [("m", 1, 0)]
    assert run.steps[0].models[0].latency_seconds > 0.04


async def test_a_call_that_waited_in_vain_for_a_limit_says_nothing_about_the_model() -> None:
    limits = LimitList(limits=(ProviderLimit(provider="local", requests_a_minute=1),))
    ask = document(timeout_seconds=0.4)["steps"][0]
    run = await ExecutorKit(limits=limits).trial({"name": "asking", "steps": [ask, {**ask, "name": "late"}]})
    assert (run.status, uses(run)) == ("failed", [("m", 1, 1)])


async def test_a_step_that_is_cut_off_while_its_call_waits_for_another_says_nothing_about_the_model() -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=0.3))
    ask = document()["steps"][0]
    two = {"name": "two", "type": "parallel_claude", "tasks": {"a": "?", "b": "?"}, "context": "none", "model": "m"}
    first = {"name": "first", "type": "set_variable", "variable": "v", "value": 1}
    late = {**ask, "name": "late", "after": ["first"], "timeout_seconds": 0.1, "on_error": "continue"}
    run = await kit.trial({"name": "asking", "execution": "dataflow", "limits": {"concurrency": 2}, "steps": [two, first, late]})
    assert ([step.status for step in run.steps], uses(run)) == (["ok", "failed", "ok"], [("m", 2, 2)])


async def test_calls_of_a_degraded_step_are_no_successes() -> None:
    model = ScriptedModel(lambda request: ProviderError("server", "broken") if request.model == "m" else "from the other")
    run = await ExecutorKit(model=model).trial(document(type="claude_robust", fallback_models=["n"], retry={"max_attempts": 1}))
    assert (run.status, uses(run)) == ("degraded", [("m", 1, 0), ("n", 1, 0)])


async def test_each_step_inside_a_loop_tells_its_own_calls() -> None:
    ask = document()["steps"][0]
    loop = {"name": "each", "type": "for_loop", "items": [1, 2, 3], "steps": [ask]}
    assert uses(await ExecutorKit().trial({"name": "looping", "steps": [loop]})) == [("m", 1, 1)] * 3


async def test_attempts_from_before_a_long_wait_are_told_with_the_step() -> None:
    kit = ExecutorKit(model=ScriptedModel([ProviderError("rate_limit", "slowly", 0.05), "ok"]), park_after_seconds=0.01)
    retry = {"max_attempts": 2, "initial_seconds": 0.01, "max_seconds": 1}
    order = ExecuteRun(run_id="run-1", document=document(retry=retry), scope=kit.notary.grant(), purpose="trial")
    assert await kit.deliver(order) is None
    await asyncio.sleep(0.06)
    woken = order.model_copy(update={"continuation": Continuation(generation=1, verb="wake")})
    run = await kit.execute(woken)
    assert uses(run) == [("m", 1, 0), ("m", 1, 1)]


async def test_what_a_fork_takes_over_was_counted_for_the_run_that_it_comes_from() -> None:
    kit = ExecutorKit()
    ask = document()["steps"][0]
    await kit.notary.deploy(kit.guardrail, {"name": "asking", "steps": [ask, {**ask, "name": "more"}]})
    await kit.execute(ExecuteRun(run_id="run-1", pipeline="asking"))
    ((_, order),) = await fork_run(ForkRun(run_id="run-1", new_run_id="run-2", from_step="more"), kit.executor)
    assert isinstance(order, ExecuteRun)
    assert [len(step.models) for step in (await kit.execute(order)).steps] == [0, 1]
