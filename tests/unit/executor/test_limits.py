"""Limits that come with the command, and limits that nested runs share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from services.executor.domain.meter import estimated_input_tokens
from services.executor.domain.spending import Spending
from services.executor.ports import Allowance
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Usage
from shared.pipeline.completion import Completion, CompletionRequest
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit, InProcessComputations
from tests.fakes.language_model import ScriptedModel


def asking(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": "claude", "prompt": "Say it.", "context": "none", **keys}


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"concurrency": -3}, {"calls": -1}, {"seconds": -1e308}, {"memory_mb": 0}])
async def test_a_bound_that_is_none_refuses_the_run_and_names_it(limits: dict[str, float]) -> None:
    model = ScriptedModel()
    end = await ExecutorKit(model=model).trial({"name": "bounded", "steps": [asking("ask")]}, limits=limits)
    assert (end.status, end.error_code) == ("refused", "invalid_input")
    assert f"limits.{next(iter(limits))}" in end.error
    assert model.requests == []


async def test_a_bound_above_the_documents_own_changes_nothing() -> None:
    huge = dict.fromkeys(
        ["seconds", "steps", "calls", "tokens", "cost_usd", "depth", "concurrency", "cpu_seconds", "memory_mb"], 1e308
    )
    assert (await ExecutorKit().trial({"name": "bounded", "steps": [asking("ask")]}, limits=huge)).status == "succeeded"


UNITS = 6
"""Steps that ask, in each run that asks."""
CHILD = {"name": "child", "steps": [asking(f"a{n}") for n in range(UNITS)]}
WIDE = {"name": "wide", "execution": "dataflow", "steps": [asking(f"a{n}") for n in range(UNITS)]}
CASES = [{"id": f"c{n}", "input": {"n": n}} for n in range(4)]


def nest(name: str, child: dict[str, Any] = CHILD) -> dict[str, Any]:
    return {"name": name, "type": "pipeline", "pipeline": child}


def trying(child: dict[str, Any] = CHILD, name: str = "try") -> dict[str, Any]:
    return {
        "name": name,
        "type": "parallel_pipeline_executor",
        "config": {"pipelines": [child], "test_data": CASES, "max_parallel": 4},
    }


SHAPES: dict[str, dict[str, Any]] = {
    "flat": {"steps": [asking(f"a{n}") for n in range(2 * UNITS)]},
    "flat, side by side": {"execution": "dataflow", "steps": [asking(f"a{n}") for n in range(2 * UNITS)]},
    "nested": {"steps": [nest("one"), nest("two")]},
    "nested, side by side": {"execution": "dataflow", "steps": [nest("one"), nest("two"), asking("own")]},
    "nested in a loop, side by side": {
        "steps": [{"name": "each", "type": "for_loop", "items": [1, 2, 3], "max_parallel": 3, "steps": [nest("one")]}]
    },
    "nested twice, side by side": {
        "execution": "dataflow",
        "steps": [nest(name, {"name": f"mid_{name}", "steps": [nest("deep"), nest("deeper", WIDE)]}) for name in ("one", "two")],
    },
    "on many cases": {"steps": [trying()]},
}
PLACES = {"in one executor": 1, "over the bus": 4}


def hungry(request: CompletionRequest) -> Completion:
    """Uses all that it is given; five calls cost a dollar."""
    usage = Usage(calls=1, input_tokens=estimated_input_tokens(request), output_tokens=request.max_tokens, cost_usd=0.2)
    return Completion(text="ok", stop="end", usage=usage, provider="local", model="scripted-1", latency_seconds=0.0)


async def bounded(shape: str, slots: int, model: ScriptedModel, **limits: float) -> tuple[RunFinished, ExecutorKit]:
    """The run's end under the limits, with a second executor for what goes over the bus."""
    kit = ExecutorKit(model=model, slots=slots)
    other = ExecutorKit(
        database=kit.database, notary=kit.notary, model=model, announcer=kit.announcer, name="executor-2", sequence=100
    )
    kit.bus.runs = other.deliver
    return await kit.trial({"name": "bounded", **SHAPES[shape]}, limits=limits), kit


def limited(run: RunFinished, ends: Sequence[RunFinished]) -> set[str]:
    """Limits that ended the run, or one that is nested in it."""
    return {end.error_code for end in (run, *ends) if end.error_code.startswith("limit_reached")}


@pytest.mark.parametrize("slots", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_limit_of_calls_holds_for_all_that_a_run_does(shape: str, slots: int) -> None:
    model = ScriptedModel(delay_seconds=0.001)
    run, kit = await bounded(shape, slots, model, calls=4)
    assert len(model.requests) == 4
    assert limited(run, kit.ends()) == {"limit_reached:calls"}
    assert run.usage.calls <= 4
    kept = sum(step.status == "ok" for end in kit.ends() for step in end.steps)
    assert kept >= 4 or "side by side" in shape or shape == "on many cases", "what was reached before is told"


@pytest.mark.parametrize("slots", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_limit_of_tokens_holds_for_all_that_a_run_does(shape: str, slots: int) -> None:
    model = ScriptedModel(hungry, delay_seconds=0.001)
    run, kit = await bounded(shape, slots, model, tokens=2000)
    assert limited(run, kit.ends()) == {"limit_reached:tokens"}
    assert 500 < sum(estimated_input_tokens(request) + request.max_tokens for request in model.requests) <= 2000


@pytest.mark.parametrize("slots", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_limit_of_cost_is_passed_by_no_more_than_the_calls_in_flight(shape: str, slots: int) -> None:
    """What a call costs is known when it has ended."""
    model = ScriptedModel(hungry, delay_seconds=0.001)
    run, kit = await bounded(shape, slots, model, cost_usd=1.0)
    assert limited(run, kit.ends()) == {"limit_reached:cost_usd"}
    assert 5 <= len(model.requests) <= 5 + model.most_in_flight


@pytest.mark.parametrize("slots", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_limit_of_steps_holds_for_all_that_a_run_does(shape: str, slots: int) -> None:
    model = ScriptedModel(delay_seconds=0.001)
    run, kit = await bounded(shape, slots, model, steps=7)
    assert limited(run, kit.ends()) == {"limit_reached:steps"}
    assert 0 < len(model.requests) <= 7
    assert run.status != "succeeded"


@pytest.mark.parametrize("slots", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_no_more_calls_are_in_flight_than_a_run_may_have_together_with_its_nested_ones(shape: str, slots: int) -> None:
    model = ScriptedModel(delay_seconds=0.005)
    run, _ = await bounded(shape, slots, model, concurrency=2)
    assert run.status == "succeeded", run.error
    assert model.most_in_flight <= 2


@pytest.mark.parametrize("slots", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_limit_of_time_ends_all_that_a_run_does(shape: str, slots: int) -> None:
    model = ScriptedModel(delay_seconds=60)
    run, kit = await bounded(shape, slots, model, seconds=0.2)
    assert (run.status, run.error_code) == ("failed", "limit_reached:seconds")
    await eventually(lambda: model.in_flight == 0)
    await eventually(lambda: _nothing_runs(kit))


async def _nothing_runs(kit: ExecutorKit) -> bool:
    return await kit.database.collection("runs").count({"status": "running"}) == 0


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if "flat" not in shape])
async def test_runs_that_use_together_what_there_is_all_succeed(shape: str) -> None:
    """Nobody is held to an equal share: who needs more gets what others leave."""
    model = ScriptedModel(delay_seconds=0.001)
    reference, _ = await bounded(shape, 4, ScriptedModel())
    run, kit = await bounded(shape, 4, model, calls=reference.usage.calls, steps=reference.steps_executed)
    assert run.status == "succeeded", run.error
    assert (run.usage.calls, run.steps_executed) == (reference.usage.calls, reference.steps_executed)
    pool = await kit.database.collection("pools").get("run-1")
    assert shape == "nested" or (pool is not None and (pool["calls"], pool["steps"]) == (0, 0))


async def test_a_nested_run_computes_within_its_parents_allowance() -> None:
    computations = InProcessComputations()
    add = {"name": "add", "type": "function", "function": "arithmetic", "arguments": {"expression": "1 + 1"}}
    greedy = {"name": "greedy", "steps": [add], "limits": {"cpu_seconds": 60, "memory_mb": 1024}}
    limits = {"cpu_seconds": 2, "memory_mb": 64}
    run = await ExecutorKit(computations=computations).trial({"name": "bounded", "steps": [nest("one", greedy)], "limits": limits})
    assert run.status == "succeeded", run.error
    assert computations.allowances == [Allowance(2.0, 64)]


class HangsOnce(ScriptedModel):
    """Does not answer when it is told to wait the first time."""

    hanging = asyncio.Event()

    async def complete(self, request: CompletionRequest) -> Completion:
        if "Wait" in request.messages[-1].text and not self.hanging.is_set():
            self.requests.append(request)
            self.hanging.set()
            await asyncio.Event().wait()
        return await super().complete(request)


async def test_a_run_that_is_taken_over_goes_on_with_what_its_pool_has_left() -> None:
    model = HangsOnce()
    kit = ExecutorKit(model=model)
    steps = [trying({"name": "child", "steps": [asking("a0")]}), {**asking("hang"), "prompt": "Wait?"}, trying(name="again")]
    document = {"name": "bounded", "steps": steps}
    order = ExecuteRun(run_id="run-1", document=document, scope=kit.notary.grant(), purpose="trial", limits={"calls": 7})
    running = asyncio.create_task(kit.deliver(order, sequence=3))
    await model.hanging.wait()
    assert len(model.requests) == 5
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    other = ExecutorKit(database=kit.database, notary=kit.notary, model=model, name="executor-2")
    run = await other.execute(order, sequence=3, attempt=2)
    assert len(model.requests) == 7
    assert limited(run, other.ends()) == {"limit_reached:calls"}


class HangingOnce(ScriptedModel):
    """Never answers the fourth call."""

    async def complete(self, request: CompletionRequest) -> Completion:
        if len(self.requests) == 3:
            self.requests.append(request)
            await asyncio.Event().wait()
        return await super().complete(request)


@pytest.mark.parametrize("slots", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("where", ["step", "loop"])
async def test_what_nested_runs_used_before_they_were_cut_off_counts_where_the_run_goes_on(where: str, slots: int) -> None:
    model = HangingOnce()
    cut: dict[str, Any] = {**nest("cut"), "timeout_seconds": 0.3}
    if where == "step":
        steps = [{**cut, "on_error": "continue"}, *(asking(f"own{n}") for n in range(UNITS))]
    else:
        steps = [{"name": "each", "type": "for_loop", "items": [1, 2, 3], "on_item_error": "continue", "steps": [cut]}]
    kit = ExecutorKit(model=model, slots=slots)
    kit.bus.runs = ExecutorKit(database=kit.database, notary=kit.notary, model=model, name="executor-2", sequence=100).deliver
    await kit.trial({"name": "bounded", "steps": steps}, limits={"calls": UNITS})
    assert len(model.requests) <= UNITS


async def test_what_is_used_while_a_pool_is_being_opened_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel()
    kit = ExecutorKit(model=model)
    open_at_once = kit.executor.pools.open

    async def open_slowly(pool_id: str, left: Spending) -> None:
        await eventually(lambda: len(model.requests) == 2)
        await open_at_once(pool_id, left)

    monkeypatch.setattr(kit.executor.pools, "open", open_slowly)
    steps = [trying(), asking("own"), {**asking("other"), "after": ["own"]}]
    await kit.trial({"name": "bounded", "execution": "dataflow", "steps": steps}, limits={"calls": 2 + UNITS})
    assert len(model.requests) == 2 + UNITS
