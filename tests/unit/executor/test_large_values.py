"""Values above 256 KiB as steps give them, and runs take and give them."""

from __future__ import annotations

from typing import Any

from services.executor.use_cases import describe_run
from shared.events.runs import ExecuteRun, GetRun
from shared.large_values import INLINE_BYTES, MARK, MAX_VALUE_BYTES, LargeValues
from tests.fakes.blobs import InMemoryBlobs
from tests.fakes.executor import ExecutorKit, Notary
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
    assert [line.get("blob") is not None for line in lines] == [True, False]
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
