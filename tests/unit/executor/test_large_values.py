"""Values above 256 KiB as steps give them, and runs take and give them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.use_cases import cancel_run, describe_run, fork_run
from shared.errors import ProviderError
from shared.events.runs import CancelRun, ExecuteRun, ForkRun, GetRun
from shared.large_values import INLINE_BYTES, MARK, MAX_VALUE_BYTES, LargeValues
from tests.eventually import eventually
from tests.fakes.blobs import InMemoryBlobs
from tests.fakes.executor import ExecutorKit, Notary, new_id
from tests.fakes.language_model import ScriptedModel
from tests.fakes.storage import InMemoryDatabase

LONG = "long " * 100_000
DOCUMENT: dict[str, Any] = {
    "name": "long",
    "inputs": {"text": "string"},
    "steps": [
        {"name": "keep", "type": "set_variable", "variable": "kept", "value": "{{ text }}"},
        {"name": "ask", "type": "claude", "prompt": "Short?", "context": "none"},
    ],
    "outputs": {"kept": "{{ vars.kept }}", "said": "{{ steps.ask.text }}"},
}


def kit_with(blobs: InMemoryBlobs, **changes: Any) -> ExecutorKit:
    return ExecutorKit(blobs=blobs, model=ScriptedModel(lambda request: "yes"), **changes)


async def test_inputs_by_reference_are_used_and_large_outputs_are_given_by_reference() -> None:
    blobs = InMemoryBlobs()
    kit = kit_with(blobs)
    inputs = await LargeValues(blobs).pack({"text": LONG})
    assert MARK in inputs["text"]
    end = await kit.trial(DOCUMENT, inputs=inputs)
    assert end.status == "succeeded"
    assert end.outputs["said"] == "yes"
    assert (await LargeValues(blobs).unpack(end.outputs))["kept"] == LONG
    assert len(end.model_dump_json()) < 10_000


async def test_a_large_step_stays_out_of_the_journals_lines_and_comes_back_whole() -> None:
    blobs, database = InMemoryBlobs(), InMemoryDatabase()
    kit = kit_with(blobs, database=database)
    await kit.trial(DOCUMENT, inputs={"text": LONG})
    lines = await database.collection("journal").find({})
    assert [len(line["body"]) < INLINE_BYTES for line in lines] == [True, True]
    assert ["blobs" in line for line in lines] == [True, False]
    first, _ = await kit.journal.entries("run-1")
    assert first.variables == {"kept": LONG}
    shown = await describe_run(GetRun(run_id="run-1"), kit.runs, kit.journal)
    assert MARK in shown["steps"][0]["value"]


async def test_a_reference_to_nothing_refuses_the_run_and_names_it() -> None:
    reference = {MARK: {"sha256": "0" * 64, "bytes": 300_000}}
    end = await kit_with(InMemoryBlobs()).trial(DOCUMENT, inputs={"text": reference})
    assert (end.status, end.error_code) == ("refused", "not_found")
    assert "value 000000000000" in end.error


async def test_a_value_above_sixty_four_mebibytes_fails_its_step_and_the_run_may_go_on() -> None:
    half = "h" * (MAX_VALUE_BYTES // 2)
    twice = {"name": "twice", "type": "set_variable", "variable": "two", "value": ["{{ text }}", "{{ text }}"]}
    after = {"name": "after", "type": "claude", "prompt": "Short?", "context": "none"}
    document = {**DOCUMENT, "steps": [{**twice, "on_error": "continue"}, after], "outputs": {"said": "{{ steps.after.text }}"}}
    end = await kit_with(InMemoryBlobs()).trial(document, inputs={"text": half})
    assert (end.status, end.outputs) == ("degraded", {"said": "yes"})
    assert "67,108,864 is the most" in end.steps[0].error


async def test_nested_runs_are_given_and_give_large_values() -> None:
    inner = {"name": "inner", "inputs": {"text": "string"}, "steps": DOCUMENT["steps"], "outputs": {"back": "{{ text }}"}}
    nest = {"name": "nest", "type": "pipeline", "pipeline": inner, "inputs": {"text": "{{ text }}"}}
    document = {"name": "outer", "inputs": {"text": "string"}, "steps": [nest], "outputs": {"back": "{{ steps.nest.result.back }}"}}
    blobs, database = InMemoryBlobs(), InMemoryDatabase()
    kit = kit_with(blobs, database=database, notary=Notary())
    end = await kit.execute(
        ExecuteRun(run_id="run-1", document=document, scope=kit.notary.grant(), purpose="trial", inputs={"text": LONG})
    )
    assert (await LargeValues(blobs).unpack(end.outputs))["back"] == LONG
    (child,) = await database.collection("runs").find({"parent_run_id": "run-1"})
    assert len(child["command"]) < 10_000


NEST: dict[str, Any] = {
    "name": "nest",
    "type": "pipeline",
    "inputs": {"text": "{{ text }}"},
    "pipeline": {"name": "inner", "inputs": {"text": "string"}, "steps": DOCUMENT["steps"][:1], "outputs": {"back": "{{ text }}"}},
}

NEST_ANY = {**NEST, "pipeline": {**NEST["pipeline"], "inputs": {"text": "any"}}}


async def test_more_than_half_of_the_most_goes_through_variables_nested_runs_and_outputs() -> None:
    """A text is a step's value and its text, and perhaps a variable too: what is bounded is each of them."""
    text = "x" * (MAX_VALUE_BYTES // 2 + 1000)
    blobs = InMemoryBlobs()
    document = {
        "name": "outer",
        "inputs": {"text": "string"},
        "steps": [DOCUMENT["steps"][0], NEST],
        "outputs": {"kept": "{{ vars.kept }}", "back": "{{ steps.nest.result.back }}"},
    }
    end = await kit_with(blobs).trial(document, inputs=await LargeValues(blobs).pack({"text": text}))
    assert (end.status, end.error) == ("succeeded", "")
    outputs = await LargeValues(blobs).unpack(end.outputs)
    assert outputs == {"kept": text, "back": text}
    assert len(blobs.stored) <= 3, "the same value is stored once"


async def test_a_loop_that_collects_more_than_sixty_four_mebibytes_fails_and_says_so() -> None:
    blobs = InMemoryBlobs()
    word = {"name": "word", "type": "set_variable", "variable": "w", "value": "{{ text }}"}
    loop = {"name": "each", "type": "for_loop", "items": [1, 2, 3], "steps": [word]}
    document = {"name": "collecting", "inputs": {"text": "string"}, "steps": [loop]}
    end = await kit_with(blobs).trial(document, inputs={"text": "x" * (MAX_VALUE_BYTES // 3)})
    assert (end.status, end.error_code) == ("failed", "step_limit")
    assert "step each gave" in end.error
    assert [step.status for step in end.steps] == ["ok", "ok", "ok", "failed"]


@pytest.mark.parametrize(("harm", "code"), [("gone", "not_found"), ("damaged", "damaged_value")])
async def test_a_run_whose_kept_values_are_gone_ends_with_a_typed_error_and_what_it_did_is_told(harm: str, code: str) -> None:
    blobs, database = InMemoryBlobs(), InMemoryDatabase()
    model = ScriptedModel(delay_seconds=60)
    kit = ExecutorKit(blobs=blobs, database=database, model=model)
    order = ExecuteRun(run_id="run-1", document=DOCUMENT, scope=kit.notary.grant(), purpose="trial", inputs={"text": LONG})
    lost = asyncio.create_task(kit.deliver(order, sequence=3))
    await eventually(lambda: len(model.requests) == 1)
    lost.cancel()
    await asyncio.gather(lost, return_exceptions=True)
    spoiled = {} if harm == "gone" else dict.fromkeys(blobs.stored, b"other")
    blobs.stored.clear()
    blobs.stored.update(spoiled)
    other = ExecutorKit(blobs=blobs, database=database, notary=kit.notary, model=model, name="executor-2")
    end = await other.execute(order, sequence=3, attempt=2)
    assert (end.status, end.error_code) == ("failed", code)
    assert [(step.position, step.status) for step in end.steps] == [("keep", "ok")]
    assert len(model.requests) == 1


async def test_a_paused_run_whose_kept_values_are_gone_can_be_cancelled() -> None:
    kit = ExecutorKit(model=ScriptedModel([LONG, ProviderError("rate_limit", "slowly", 60.0)]), park_after_seconds=0.01)
    ask = {"name": "ask", "type": "claude", "prompt": "?", "context": "none"}
    again = {**ask, "name": "again", "retry": {"max_attempts": 2, "initial_seconds": 60, "max_seconds": 60}}
    document = {"name": "waiting", "steps": [ask, again]}
    assert await kit.deliver(ExecuteRun(run_id="run-1", document=document, scope=kit.notary.grant(), purpose="trial")) is None
    assert isinstance(kit.blobs, InMemoryBlobs)
    kit.blobs.stored.clear()
    await cancel_run(CancelRun(run_id="run-1", author="ann"), new_id(), kit.executor)
    (end,) = kit.ends()
    assert (end.status, [step.status for step in end.steps], end.usage.calls) == ("cancelled", ["ok"], 2)


async def test_outputs_that_are_nested_too_deep_to_be_told_fail_the_run() -> None:
    """They would be stored nowhere, and the run would be tried again for ever."""
    blobs = InMemoryBlobs()
    deep = (await blobs.store(b"[" * 300 + b"]" * 300)).written()
    document = {"name": "deep", "inputs": {"text": "any"}, "steps": DOCUMENT["steps"][1:], "outputs": {"back": "{{ text }}"}}
    end = await kit_with(blobs).trial(document, inputs={"text": deep})
    assert (end.status, end.error_code) == ("failed", "invalid_input")
    assert [step.status for step in end.steps] == ["ok"]


async def test_a_fork_edits_one_of_many_inputs_that_are_one_reference() -> None:
    blobs = InMemoryBlobs()
    kit = kit_with(blobs)
    inputs = {"text": "short", **{f"k{n}": "v" * 20 for n in range(20_000)}}
    packed = await LargeValues(blobs).pack(inputs)
    assert packed.keys() == {MARK}
    assert (await kit.trial(DOCUMENT, inputs=packed)).outputs == {"kept": "short", "said": "yes"}
    command = ForkRun(run_id="run-1", new_run_id="run-2", from_step="keep", inputs={"text": "edited"})
    ((_, order),) = await fork_run(command, kit.executor)
    assert isinstance(order, ExecuteRun)
    assert (await kit.execute(order)).outputs == {"kept": "edited", "said": "yes"}
    assert await LargeValues(blobs).unpack(order.inputs) == {**inputs, "text": "edited"}


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_nested_runs_answer_that_looks_like_a_reference_is_data(slots: int) -> None:
    """Whatever a model or a caller writes: it refers to nothing, and breaks nobody who reads it."""
    looks = {MARK: {"sha256": "0" * 64, "bytes": 5}}
    kit = kit_with(InMemoryBlobs(), slots=slots)
    document = {
        "name": "outer",
        "inputs": {"text": "any"},
        "steps": [NEST_ANY],
        "outputs": {"back": "{{ steps.nest.result.back }}"},
    }
    inputs = await LargeValues(kit.blobs).pack({"text": looks})
    if slots > 1:
        kit.bus.runs = kit.deliver
    end = await kit.trial(document, inputs=inputs)
    assert (end.status, end.error) == ("succeeded", "")
    assert await LargeValues(kit.blobs).unpack(end.outputs) == {"back": looks}
