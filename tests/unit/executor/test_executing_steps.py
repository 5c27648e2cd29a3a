"""What steps do inside one run: order, conditions, errors, retries, time-outs, limits."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shared.errors import ProviderError, ProviderRefusedError
from shared.events.runs import RunFinished
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel
from tests.fakes.virtual_time import run_in_virtual_time


def setting(name: str, value: Any, **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": "set_variable", "variable": name, "value": value, **keys}


def asking(name: str, prompt: str = "Say it.", **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": "claude", "prompt": prompt, **keys}


def pipeline(*steps: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"name": "tested", "steps": list(steps), **keys}


async def ended(model: ScriptedModel, *steps: dict[str, Any], inputs: dict[str, Any] | None = None, **keys: Any) -> RunFinished:
    return await ExecutorKit(model=model).trial(pipeline(*steps, **keys), inputs=inputs or {})


def statuses(run: RunFinished) -> dict[str, str]:
    return {step.position: step.status for step in run.steps}


BROKEN = ProviderError("server", "500 from the provider")


async def test_later_steps_see_earlier_results_and_variables() -> None:
    run = await ended(
        ScriptedModel(["Paris"]),
        asking("capital", "Capital of {{ country }}?"),
        setting("kept", "{{ steps.capital.result }}"),
        inputs={"country": "France"},
        outputs={"answer": "{{ vars.kept }}", "run": "{{ run.run_id }}"},
    )
    assert run.status == "succeeded"
    assert run.outputs == {"answer": "Paris", "run": "run-1"}


async def test_without_outputs_the_last_value_is_the_output() -> None:
    run = await ended(ScriptedModel(), setting("one", [1]), setting("two", {"n": 2}))
    assert run.outputs == {"n": 2}


async def test_a_step_whose_condition_is_false_is_skipped_and_the_run_succeeds() -> None:
    run = await ended(ScriptedModel(), setting("one", 1), setting("two", 2, when="steps.one.value == 7"))
    assert statuses(run) == {"one": "ok", "two": "skipped"}
    assert run.status == "succeeded"


async def test_a_failed_step_ends_the_run_and_keeps_what_was_reached() -> None:
    run = await ended(ScriptedModel(["fine", BROKEN]), asking("one"), asking("two"), setting("three", 3))
    assert (run.status, run.error_code) == ("failed", "provider")
    assert "two" in run.error
    assert statuses(run) == {"one": "ok", "two": "failed"}


async def test_a_failure_that_the_run_goes_on_after_makes_it_degraded() -> None:
    run = await ended(ScriptedModel([BROKEN]), asking("one", on_error="continue"), setting("two", 2))
    assert run.status == "degraded"
    assert statuses(run) == {"one": "failed", "two": "ok"}


async def test_a_fallback_answers_in_the_steps_place_and_is_degraded() -> None:
    run = await ended(
        ScriptedModel([BROKEN]),
        asking("one", on_error={"fallback": {"name": "plan_b", "type": "set_variable", "variable": "b", "value": "plan b"}}),
        outputs={"answer": "{{ steps.one.result }}"},
    )
    assert run.status == "degraded"
    assert run.outputs == {"answer": "plan b"}
    assert statuses(run) == {"one": "degraded"}


async def test_a_failing_fallback_fails_the_run() -> None:
    run = await ended(
        ScriptedModel([BROKEN]), asking("one", on_error={"fallback": {"name": "again", "type": "claude", "prompt": "Again."}})
    )
    assert run.status == "failed"


async def test_provider_errors_of_the_named_kinds_are_retried_and_attempts_counted() -> None:
    retry = {"max_attempts": 3, "initial_seconds": 0.001}
    run = await ended(ScriptedModel([BROKEN, BROKEN, "third time"]), asking("one", retry=retry))
    assert run.status == "succeeded"
    assert run.steps[0].attempts == 3
    assert run.usage.calls == 3


async def test_refusals_and_other_kinds_are_not_retried() -> None:
    retry = {"max_attempts": 3, "initial_seconds": 0.001, "on": ["rate_limit"]}
    for error in (BROKEN, ProviderRefusedError("blocked")):
        model = ScriptedModel([error, "never asked"])
        run = await ended(model, asking("one", retry=retry))
        assert run.status == "failed"
        assert len(model.requests) == 1


async def test_a_retry_after_beyond_the_longest_wait_fails_at_once() -> None:
    model = ScriptedModel([ProviderError("rate_limit", "429", retry_after_seconds=3600), "never asked"])
    run = await ended(model, asking("one", retry={"max_attempts": 3, "max_seconds": 1}))
    assert run.status == "failed"
    assert len(model.requests) == 1


async def test_a_time_out_interrupts_the_step_and_cuts_the_call_off() -> None:
    model = ScriptedModel(delay_seconds=30)
    started = time.monotonic()
    run = await ended(model, asking("one", timeout_seconds=0.05))
    assert time.monotonic() - started < 5
    assert (run.status, run.error_code) == ("failed", "provider")
    assert "took longer than 0.05 s" in run.error
    assert model.cancelled == 1


async def test_a_time_out_is_retried_like_a_provider_error() -> None:
    model = ScriptedModel(delay_seconds=30)
    run = await ended(model, asking("one", timeout_seconds=0.03, retry={"max_attempts": 2, "initial_seconds": 0.001}))
    assert run.status == "failed"
    assert len(model.requests) == 2
    assert run.steps[0].attempts == 2


async def test_steps_limit_ends_the_run_with_its_name() -> None:
    loop = {"name": "each", "type": "for_loop", "items": "{{ words }}", "steps": [setting("word", "{{ loop.item }}")]}
    run = await ended(ScriptedModel(), {**loop, "on_error": "continue"}, limits={"steps": 3}, inputs={"words": [1, 2, 3, 4]})
    assert (run.status, run.error_code) == ("failed", "limit_reached:steps")
    ended_as = statuses(run)
    assert [ended_as[f"each[{n}].word"] for n in range(3)] == ["ok", "ok", "failed"]
    assert ended_as["each"] == "failed"


async def test_calls_limit_holds_over_retries_and_ignores_on_error() -> None:
    model = ScriptedModel([BROKEN])
    retry = {"max_attempts": 10, "initial_seconds": 0.001}
    run = await ended(model, asking("one", retry=retry, on_error="continue"), setting("two", 2), limits={"calls": 3})
    assert (run.status, run.error_code) == ("failed", "limit_reached:calls")
    assert len(model.requests) == 3
    assert "two" not in statuses(run)


async def test_calls_side_by_side_never_pass_the_calls_limit_together() -> None:
    model = ScriptedModel(delay_seconds=0.01)
    batch = {"name": "many", "type": "claude_batch", "prompts": [f"p{n}" for n in range(6)], "max_parallel": 6}
    run = await ended(model, batch, limits={"calls": 4})
    assert run.error_code == "limit_reached:calls"
    assert len(model.requests) <= 4


async def test_concurrency_of_calls_never_exceeds_the_documents_cap() -> None:
    model = ScriptedModel(delay_seconds=0.01)
    batch = {"name": "many", "type": "claude_batch", "prompts": [f"p{n}" for n in range(8)], "max_parallel": 8}
    run = await ended(model, batch, limits={"concurrency": 2})
    assert run.status == "succeeded"
    assert model.most_in_flight == 2


async def test_tokens_limit_cuts_answers_to_what_is_left_and_then_ends_the_run() -> None:
    model = ScriptedModel(lambda request: "word " * request.max_tokens)
    ask = asking("one", "{{ text }}", max_tokens=90)
    run = await ended(model, ask, asking("two", "More.", max_tokens=90), limits={"tokens": 200}, inputs={"text": "w " * 150})
    assert model.requests[0].max_tokens < 90
    assert (run.status, run.error_code) == ("failed", "limit_reached:tokens")
    assert len(model.requests) == 1
    assert run.usage.input_tokens + run.usage.output_tokens <= 300


async def test_a_prompt_that_is_larger_than_the_tokens_left_is_never_sent() -> None:
    model = ScriptedModel()
    run = await ended(model, asking("one", "{{ text }}", max_tokens=10), limits={"tokens": 100}, inputs={"text": "w " * 1000})
    assert run.error_code == "limit_reached:tokens"
    assert model.requests == []


async def test_cost_limit_ends_the_run() -> None:
    from shared.events.values import Usage
    from shared.pipeline.completion import Completion

    costly = Completion(
        text="dear", stop="end", usage=Usage(calls=1, cost_usd=0.6), provider="anthropic", model="m", latency_seconds=0.1
    )
    model = ScriptedModel([costly])
    run = await ended(model, asking("one"), asking("two"), asking("three"), limits={"cost_usd": 1.0})
    assert run.error_code == "limit_reached:cost_usd"
    assert len(model.requests) == 2
    assert run.usage.cost_usd == 1.2


async def test_seconds_limit_interrupts_the_run() -> None:
    model = ScriptedModel(delay_seconds=30)
    started = time.monotonic()
    run = await ended(model, setting("one", 1), asking("two"), limits={"seconds": 0.1})
    assert time.monotonic() - started < 5
    assert (run.status, run.error_code) == ("failed", "limit_reached:seconds")
    assert statuses(run) == {"one": "ok"}
    assert model.cancelled == 1


def test_dataflow_runs_independent_steps_side_by_side() -> None:
    model = ScriptedModel(lambda request: request.messages[0].text, delay_seconds=0.2)

    async def work() -> tuple[RunFinished, float]:
        run = await ended(
            model,
            asking("a", "A {{ x }}"),
            asking("b", "B {{ x }}"),
            asking("c", "{{ steps.a.result }}+{{ steps.b.result }}"),
            execution="dataflow",
            inputs={"x": "1"},
        )
        return run, asyncio.get_running_loop().time()

    run, seconds = run_in_virtual_time(work())
    assert run.status == "succeeded"
    assert model.most_in_flight == 2
    assert seconds < 0.58
    assert "A" in run.outputs
    assert "B" in run.outputs


async def test_dataflow_stops_what_runs_when_a_step_fails() -> None:
    def reply(request: Any) -> Any:
        return BROKEN if "now" in request.messages[0].text else "late"

    model = ScriptedModel(reply)
    slow = {**asking("slow", "slow {{ x }}"), "timeout_seconds": 60}
    run = await ended(model, asking("now", "now {{ x }}"), slow, execution="dataflow", inputs={"x": "1"})
    assert run.status == "failed"
    assert "now" in run.error


async def test_loops_journal_each_round_at_its_own_position() -> None:
    loop = {"name": "each", "type": "for_loop", "items": "{{ words }}", "steps": [setting("word", "{{ loop.item }}!")]}
    kit = ExecutorKit()
    run = await kit.trial(pipeline(loop), inputs={"words": ["a", "b"]})
    assert run.outputs == ["a!", "b!"]
    assert set(statuses(run)) == {"each[0].word", "each[1].word", "each"}


async def test_a_degraded_round_makes_the_run_degraded() -> None:
    inner = asking("ask", on_error="continue")
    loop = {"name": "each", "type": "for_loop", "times": 2, "steps": [inner], "on_item_error": "continue"}
    run = await ended(ScriptedModel([BROKEN, "fine"]), loop)
    assert run.status == "degraded"


async def test_cached_answers_are_used_only_where_the_step_says_so_and_by_seed() -> None:
    model = ScriptedModel()
    kit = ExecutorKit(model=model)
    cached, plain = pipeline(asking("one", cache=True)), pipeline(asking("one"))
    await kit.trial(cached, run_id="r1")
    second = await kit.trial(cached, run_id="r2")
    assert len(model.requests) == 1
    assert second.steps[0].cache_hit
    assert second.usage.calls == 0
    await kit.trial(cached, run_id="r3", seed=7)
    await kit.trial(plain, run_id="r4")
    await kit.trial(cached, run_id="r5", tenant="other")
    assert len(model.requests) == 4


async def test_a_step_that_raises_anything_is_a_failed_step_not_a_lost_run(monkeypatch: Any) -> None:
    from shared.pipeline.steps.set_variable import SetVariableStep

    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(SetVariableStep, "run", broken)
    run = await ended(ScriptedModel(), setting("one", 1))
    assert (run.status, run.error_code) == ("failed", "internal")
    assert "ZeroDivisionError" in run.error


async def test_of_more_steps_than_a_message_carries_the_first_are_told() -> None:
    each = {"name": "each", "type": "for_loop", "items": list(range(4000)), "max_iterations": 4000, "steps": [setting("w" * 60, 1)]}
    document = pipeline(each, limits={"steps": 5000})
    run = await ExecutorKit().trial(document)
    assert (run.status, len(run.steps) + run.steps_left_out) == ("succeeded", 4001)
    assert run.steps_left_out > 0
    assert 800_000 < len(run.model_dump_json()) <= 900_000


async def test_an_end_is_measured_in_bytes_and_not_in_characters() -> None:
    """Otherwise it would be stored, and no message could ever tell it."""
    each = {"name": "each", "type": "for_loop", "items": list(range(120)), "max_iterations": 120}
    loop = {**each, "steps": [asking("ask", context="none", on_error="continue")]}
    model = ScriptedModel(lambda request: ProviderError("server", "\u20ac" * 4000))
    run = await ended(model, loop, limits={"calls": 200, "steps": 200})
    assert (run.status, run.steps[0].status) == ("degraded", "failed")
    assert len(run.steps[0].error) > 3000
    assert run.steps_left_out > 0
    assert 800_000 < len(run.model_dump_json().encode()) <= 900_000


async def test_inputs_are_validated_before_the_first_step_and_defaults_filled_in() -> None:
    inputs = {"n": {"type": "integer", "minimum": 1}, "word": {"type": "string", "default": "hi"}}
    document = pipeline(setting("one", "{{ word }}{{ n }}"), inputs=inputs)
    kit = ExecutorKit()
    good = await kit.trial(document, inputs={"n": 3})
    bad = await kit.trial(document, run_id="r2", inputs={"n": 0})
    missing = await kit.trial(document, run_id="r3")
    assert good.outputs == "hi3"
    assert (bad.status, bad.error_code, bad.steps) == ("refused", "invalid_input", ())
    assert "inputs.n" in bad.error
    assert "missing" in missing.error


async def test_the_workspace_is_gone_when_the_run_has_ended() -> None:
    kit = ExecutorKit()
    write = {"name": "note", "type": "file_ops", "operation": "write", "path": "note.txt", "content": "kept for a while"}
    run = await kit.trial(pipeline(write))
    assert run.status == "succeeded", run.error
    assert not (kit.executor.services.workspace_dir / "run-1").exists()
