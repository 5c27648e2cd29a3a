"""Runs inside runs: over the bus while that is safe, in the parent's own executor otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.executor.domain.delivery import CommandDelivery
from services.executor.engine import patience
from services.executor.use_cases import cancel_run, execute_run, retry_run
from shared.errors import OutOfScopeError, ProviderError, TransientError
from shared.events.changes import GrantScope
from shared.events.runs import CancelRun, ExecuteRun, RetryRun, RunFinished
from shared.events.values import GrantedScope, Usage
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit, Notary, new_id
from tests.fakes.language_model import ScriptedModel

CHILD = {
    "name": "child",
    "inputs": {"n": "integer"},
    "steps": [{"name": "ask", "type": "claude", "prompt": "Number {{ n }}?"}],
    "outputs": {"said": "{{ steps.ask.result }}"},
}


def parent(pipeline: Any = CHILD, **keys: Any) -> dict[str, Any]:
    nested = {"name": "nest", "type": "pipeline", "pipeline": pipeline, "inputs": {"n": 1}, **keys}
    return {"name": "parent", "steps": [nested]}


def ended(order: ExecuteRun, **fields: Any) -> RunFinished:
    given: dict[str, Any] = {"outputs": {"said": "from the bus"}, "usage": Usage(calls=2, input_tokens=10), **fields}
    return RunFinished(
        run_id=order.run_id, pipeline="child", digest="0" * 64, domain="general", purpose=order.purpose, status="succeeded", **given
    )


async def test_with_a_single_place_nested_runs_run_in_the_parents_executor() -> None:
    kit = ExecutorKit(slots=1)
    run = await kit.trial(parent())
    assert (run.status, run.outputs) == ("succeeded", {"said": "ok"})
    assert kit.bus.commands == []
    inner, outer = kit.ends()
    assert (inner.parent_run_id, outer.run_id) == ("run-1", "run-1")
    assert run.usage.calls == 1
    usage = await kit.database.collection("scope_usage").get("scope-1")
    assert usage is not None
    assert (usage["runs"], usage["calls"]) == (2, 1)


async def test_with_more_places_nested_runs_go_over_the_bus_with_tighter_limits_and_the_parents_scope() -> None:
    kit = ExecutorKit(slots=2)
    kit.bus.ends = ended
    run = await kit.trial({**parent(), "limits": {"depth": 3, "calls": 9}}, seed=5, group_id="g")
    assert (run.status, run.outputs, run.usage.calls) == ("succeeded", {"said": "from the bus"}, 2)
    (order,) = kit.bus.commands
    assert (order.parent_run_id, order.depth, order.seed, order.group_id) == ("run-1", 1, 5, "g")
    assert order.scope is not None
    assert order.limits["depth"] == 2
    assert order.limits["calls"] == 9


async def test_parents_never_wait_for_the_bus_in_all_places_at_once() -> None:
    kit = ExecutorKit(slots=2)
    waiting = asyncio.create_task(kit.trial(parent(), run_id="first"))
    await eventually(lambda: len(kit.bus.commands) == 1)
    second = await kit.trial(parent(), run_id="second")
    assert second.status == "succeeded"
    assert len(kit.bus.commands) == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_parent_that_is_resumed_before_its_step_was_journaled_takes_the_end_of_its_finished_child() -> None:
    model = ScriptedModel()
    kit = ExecutorKit(model=model)
    first = await kit.trial(parent())
    await kit.database.collection("journal").delete({"run_id": "run-1"})
    await kit.database.collection("runs").delete({"_id": "run-1"})
    other = ExecutorKit(database=kit.database, notary=kit.notary, model=model, name="executor-2")
    again = await other.trial(parent())
    assert (again.outputs, again.usage) == (first.outputs, first.usage)
    assert len(model.requests) == 1


async def test_depth_is_bounded_through_all_levels() -> None:
    innermost = parent()
    document = {"name": "outer", "steps": [{"name": "nest", "type": "pipeline", "pipeline": innermost}], "limits": {"depth": 1}}
    run = await ExecutorKit().trial(document)
    assert run.status == "failed"
    assert "depth" in run.error_code


SETTER = {"name": "v", "type": "set_variable", "variable": "x", "value": 1}


async def test_two_different_pipelines_of_one_name_are_no_cycle() -> None:
    inner = {"name": "parent", "steps": [SETTER]}
    run = await ExecutorKit().trial(parent(inner, inputs={}))
    assert (run.status, run.outputs) == ("succeeded", 1)


async def test_a_renamed_copy_of_an_ancestor_is_a_cycle_and_is_never_run() -> None:
    kit = ExecutorKit()
    nest = {"name": "nest", "type": "pipeline", "pipeline": "other@stable"}
    await kit.notary.deploy(kit.guardrail, {"name": "one", "steps": [SETTER, nest]})
    await kit.notary.deploy(kit.guardrail, {"name": "other", "description": "Another text.", "steps": [SETTER, nest]})
    run = await kit.execute(ExecuteRun(run_id="run-1", pipeline="one"))
    assert (run.status, run.error_code) == ("failed", "pipeline_cycle")
    assert [each.status for each in kit.ends()] == ["refused", "failed"]


async def test_a_cycle_over_several_pipelines_is_found_where_it_closes() -> None:
    kit = ExecutorKit()
    names = ("a", "b", "c")
    for name, then in zip(names, ("b", "c", "a"), strict=True):
        nest = {"name": f"nest_{name}", "type": "pipeline", "pipeline": f"{then}@stable"}
        await kit.notary.deploy(kit.guardrail, {"name": name, "steps": [nest]})
    run = await kit.execute(ExecuteRun(run_id="run-1", pipeline="a"))
    assert (run.status, run.error_code) == ("failed", "pipeline_cycle")
    assert "3 levels deep" in run.error
    assert [(each.pipeline, each.status) for each in kit.ends()] == [
        ("a", "refused"),
        ("c", "failed"),
        ("b", "failed"),
        ("a", "failed"),
    ]


async def test_the_same_pipeline_twice_beside_each_other_is_no_cycle() -> None:
    steps = [{**parent({"name": "child", "steps": [SETTER]}, inputs={})["steps"][0], "name": name} for name in ("one", "two")]
    assert (await ExecutorKit().trial({"name": "parent", "steps": steps})).status == "succeeded"


async def test_a_nested_runs_calls_count_against_the_parent_and_what_is_left_bounds_it() -> None:
    model = ScriptedModel()
    ask = {"name": "ask", "type": "claude", "prompt": "First?", "context": "none"}
    steps = [ask, parent()["steps"][0], {**ask, "name": "last"}]
    kit = ExecutorKit(model=model)
    run = await kit.trial({"name": "parent", "steps": steps, "limits": {"calls": 3}})
    assert (run.status, run.usage.calls) == ("succeeded", 3)
    looped = {"name": "each", "type": "for_loop", "items": "{{ numbers }}", "steps": [{**ask, "name": "inner"}]}
    document = {"name": "parent", "steps": [looped, parent()["steps"][0]], "limits": {"calls": 200}}
    run = await kit.trial(document, run_id="run-2", inputs={"numbers": [1]}, limits={"calls": 1})
    assert run.status == "failed"
    assert "calls" in run.error


async def test_cancelling_a_parent_ends_its_nested_run_too() -> None:
    model = ScriptedModel(delay_seconds=30)
    kit = ExecutorKit(model=model)
    task = asyncio.create_task(kit.trial(parent()))
    await eventually(lambda: len(model.requests) == 1)
    await cancel_run(CancelRun(run_id="run-1"), new_id(), kit.executor)
    run = await task
    assert run.status == "cancelled"
    assert sorted(each.status for each in kit.ends()) == ["cancelled", "cancelled"]
    assert await kit.database.collection("runs").count({"status": "running"}) == 0


async def test_a_stopping_process_leaves_nested_runs_to_whoever_resumes_the_parent() -> None:
    model = ScriptedModel(delay_seconds=30)
    kit = ExecutorKit(model=model)
    order = ExecuteRun(run_id="run-1", document=parent(), scope=kit.notary.grant(), purpose="trial")
    task = asyncio.create_task(kit.deliver(order, sequence=3))
    await eventually(lambda: len(model.requests) == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert kit.ends() == []
    other = ExecutorKit(database=kit.database, notary=kit.notary, name="executor-2")
    run = await execute_run(order, CommandDelivery(sequence=3, attempt=2), other.executor)
    assert run is not None
    assert (run.status, run.resumed) == ("succeeded", 1)
    assert [each.resumed for each in other.ends()] == [1, 1]


async def test_a_steps_time_out_ends_its_nested_run() -> None:
    model = ScriptedModel(delay_seconds=30)
    kit = ExecutorKit(model=model)
    run = await kit.trial(parent(timeout_seconds=0.1, on_error="continue"))
    assert run.status == "degraded"
    assert await kit.database.collection("runs").count({"status": "running"}) == 0


async def test_cancelling_a_parent_on_the_bus_cancels_what_it_started_there() -> None:
    kit = ExecutorKit(slots=2)
    task = asyncio.create_task(kit.trial(parent()))
    await eventually(lambda: len(kit.bus.commands) == 1)
    await cancel_run(CancelRun(run_id="run-1"), new_id(), kit.executor)
    run = await task
    assert run.status == "cancelled"
    assert kit.bus.cancelled == [kit.bus.commands[0].run_id]


async def test_a_document_written_in_an_attested_one_runs_and_any_other_does_not() -> None:
    kit = ExecutorKit()
    digest = await kit.notary.deploy(kit.guardrail, parent())
    run = await kit.execute(ExecuteRun(run_id="run-1", pipeline="parent"))
    assert run.status == "succeeded", run.error
    child = kit.ends()[0]
    assert (child.pipeline, child.status, child.purpose) == ("child", "succeeded", "production")
    smuggled = {**CHILD, "steps": [{"name": "ask", "type": "claude", "prompt": "Something else?"}]}
    refused = await kit.execute(ExecuteRun(run_id="run-2", pipeline=f"parent@{digest}", document=smuggled, inputs={"n": 1}))
    assert (refused.status, refused.error_code) == ("refused", "not_attested")


async def test_a_nested_reference_of_an_attested_parent_must_be_attested_itself() -> None:
    kit = ExecutorKit()
    await kit.notary.deploy(kit.guardrail, parent("child@stable"))
    refused = await kit.execute(ExecuteRun(run_id="run-1", pipeline="parent"))
    assert (refused.status, refused.error_code) == ("failed", "not_found")
    await kit.notary.deploy(kit.guardrail, CHILD)
    run = await kit.execute(ExecuteRun(run_id="run-2", pipeline="parent"))
    assert (run.status, run.outputs) == ("succeeded", {"said": "ok"})


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_retried_parent_goes_on_with_its_failed_nested_run_and_keeps_what_that_had_finished(slots: int) -> None:
    model = ScriptedModel(["first", ProviderError("overload", "busy"), "second"])
    steps = [{"name": name, "type": "claude", "prompt": f"{name}?", "context": "none"} for name in ("one", "two")]
    kit = ExecutorKit(model=model, slots=slots)
    kit.bus.runs = ExecutorKit(
        database=kit.database, notary=kit.notary, model=model, announcer=kit.announcer, name="executor-2", sequence=100
    ).deliver
    failed = await kit.trial(parent({"name": "child", "steps": steps}))
    assert (failed.status, len(model.requests)) == ("failed", 2)
    ((_, order),) = await retry_run(RetryRun(run_id="run-1"), new_id(), kit.executor)
    assert isinstance(order, ExecuteRun)
    run = await kit.execute(order)
    assert (run.status, run.outputs, run.retries) == ("succeeded", "second", 1)
    assert [request.messages[-1].text for request in model.requests] == ["one?", "two?", "two?"]
    assert [(end.parent_run_id, end.retries, end.status) for end in kit.ends()] == [
        ("run-1", 0, "failed"),
        (None, 0, "failed"),
        ("run-1", 1, "succeeded"),
        (None, 1, "succeeded"),
    ]


def comparing(pipelines: str) -> dict[str, Any]:
    config = {"pipelines": pipelines, "test_data": [{"id": "c1", "input": {"n": 1}}]}
    return {"name": "comparing", "steps": [{"name": "compare", "type": "parallel_pipeline_executor", "config": config}]}


def granting(kit: ExecutorKit, **changes: Any) -> None:
    kit.questions.answers[GrantScope] = lambda wish: kit.notary.granted(wish, **changes).model_dump(mode="json")


async def test_documents_that_a_run_made_itself_run_under_a_scope_that_the_guardrail_grants_for_the_step() -> None:
    kit = ExecutorKit()
    granting(kit)
    await kit.notary.deploy(kit.guardrail, comparing("{{ made }}"))
    run = await kit.execute(ExecuteRun(run_id="run-1", pipeline="comparing", inputs={"made": [CHILD]}))
    inner, _ = kit.ends()
    assert (run.status, run.outputs[0]["errors"], run.purpose) == ("succeeded", 0, "production")
    (asked,) = [query for query in kit.questions.asked if isinstance(query, GrantScope)]
    assert (inner.status, inner.purpose, inner.scope_id) == ("succeeded", "trial", asked.scope_id)
    assert (asked.purpose, asked.holder, asked.budget.runs, asked.budget.calls) == ("generation", "pipeline:comparing", 1, 100)


async def test_without_a_scope_from_the_guardrail_nothing_that_a_run_made_itself_runs() -> None:
    kit = ExecutorKit()
    kit.questions.answers[GrantScope] = OutOfScopeError("policy grants no scopes")
    await kit.notary.deploy(kit.guardrail, comparing("{{ made }}"))
    run = await kit.execute(ExecuteRun(run_id="run-1", pipeline="comparing", inputs={"made": [CHILD]}))
    assert (run.status, run.error_code) == ("failed", "out_of_scope")
    assert [end.run_id for end in kit.ends()] == ["run-1"]


FORGERIES: dict[str, Callable[[ExecutorKit, GrantScope], Any]] = {
    "not signed": lambda kit, wish: _unsigned(kit.notary.granted(wish)),
    "signed by somebody else": lambda kit, wish: Notary().granted(wish),
    "changed after it was signed": lambda kit, wish: _widened(kit.notary.granted(wish)),
    "signed for another wish": lambda kit, wish: kit.notary.granted(wish, scope_id="another"),
    "wider than wished": lambda kit, wish: kit.notary.granted(wish, budget=wish.budget.model_copy(update={"runs": 999})),
    "over": lambda kit, wish: kit.notary.granted(wish, minutes=-1),
    "no scope": lambda kit, wish: {"stable": "x"},
    "nonsense": lambda kit, wish: {"scope": [1, {"a": None}], "attestation": "yes"},
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_an_answer_that_is_not_the_guardrails_scope_for_this_wish_runs_nothing(
    forgery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_SECONDS", 0.0)
    kit = ExecutorKit()

    def answer(wish: GrantScope) -> Any:
        made = FORGERIES[forgery](kit, wish)
        return made.model_dump(mode="json") if isinstance(made, GrantedScope) else made

    kit.questions.answers[GrantScope] = answer
    await kit.notary.deploy(kit.guardrail, comparing("{{ made }}"))
    with pytest.raises(TransientError, match=r"the answer to api.guardrail.grant_scope is not one that can be used"):
        await kit.execute(ExecuteRun(run_id="run-1", pipeline="comparing", inputs={"made": [CHILD]}))
    assert kit.ends() == []


def _unsigned(granted: GrantedScope) -> GrantedScope:
    return granted.model_copy(update={"attestation": granted.attestation.model_copy(update={"signature": ""})})


def _widened(granted: GrantedScope) -> GrantedScope:
    return granted.model_copy(update={"scope": granted.scope.model_copy(update={"step_types": ("claude", "file_ops")})})


async def test_a_document_outside_the_granted_scope_is_refused_and_told_in_the_comparison() -> None:
    kit = ExecutorKit()
    granting(kit, step_types=("set_variable",))
    await kit.notary.deploy(kit.guardrail, comparing("{{ made }}"))
    run = await kit.execute(ExecuteRun(run_id="run-1", pipeline="comparing", inputs={"made": [CHILD]}))
    (row,) = run.outputs
    assert (run.status, row["errors"]) == ("degraded", 1)
    assert "step type `claude` is outside the scope" in row["error"]


async def test_references_and_documents_that_were_approved_ask_for_no_scope() -> None:
    kit = ExecutorKit()
    await kit.notary.deploy(kit.guardrail, CHILD)
    config = {"pipelines": ["child@stable", CHILD], "test_data": [{"id": "c1", "input": {"n": 1}}]}
    written = {"name": "comparing", "steps": [{"name": "compare", "type": "parallel_pipeline_executor", "config": config}]}
    await kit.notary.deploy(kit.guardrail, written)
    run = await kit.execute(ExecuteRun(run_id="run-1", pipeline="comparing"))
    assert (run.status, [row["errors"] for row in run.outputs]) == ("succeeded", [0, 0])
    assert kit.questions.asked == []


async def test_the_step_of_a_run_that_another_executor_took_over_asks_for_the_same_scope() -> None:
    kit = ExecutorKit()
    granting(kit)
    await kit.notary.deploy(kit.guardrail, comparing("{{ made }}"))
    command = ExecuteRun(run_id="run-1", pipeline="comparing", inputs={"made": [CHILD]})
    await kit.execute(command)
    await kit.database.collection("journal").delete({"run_id": "run-1"})
    await kit.database.collection("runs").delete({"_id": "run-1"})
    other = ExecutorKit(
        database=kit.database, guardrail=kit.guardrail, notary=kit.notary, questions=kit.questions, name="executor-2"
    )
    await other.execute(command)
    first, second = [query for query in kit.questions.asked if isinstance(query, GrantScope)]
    assert first == second
