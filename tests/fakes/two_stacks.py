"""Runs that go from one stack in memory to another."""

from __future__ import annotations

from typing import Any

from services.executor.use_cases import describe_run, export_run, import_run
from shared.events.runs import ExecuteRun, GetRun
from shared.events.transfer import ExportRun, ImportRun, RunImported
from shared.large_values import LargeValues, as_json
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel

STEPS = [{"name": name, "type": "claude", "prompt": f"{name} {{{{ topic }}}}?", "context": "none"} for name in ("one", "two")]
DOCUMENT = {"name": "asking", "inputs": {"topic": "string"}, "steps": STEPS, "outputs": {"said": "{{ steps.two.text }}"}}
LARGE = "x" * 300_000
File = dict[str, Any]


async def ran(model: ScriptedModel | None = None, **fields: Any) -> ExecutorKit:
    """A stack where run-1 has ended."""
    kit = ExecutorKit(model=model or ScriptedModel(["yes", LARGE]))
    await kit.notary.deploy(kit.guardrail, DOCUMENT)
    await kit.execute(ExecuteRun(**{"run_id": "run-1", "pipeline": "asking", "inputs": {"topic": "rain"}, **fields}))
    return kit


async def exported(kit: ExecutorKit, run_id: str = "run-1") -> File:
    answer = await export_run(ExportRun(run_id=run_id), kit.executor)
    file: File = (await LargeValues(kit.blobs).unpack(answer))["file"]
    return file


async def taken_in(kit: ExecutorKit, file: Any, **fields: Any) -> RunImported:
    given = {"run_id": "run-1", "file": (await kit.blobs.store(as_json(file))).written(), "author": "bob", **fields}
    ((_, fact),) = await import_run(ImportRun(**given), kit.executor)
    assert isinstance(fact, RunImported)
    return fact


async def described(kit: ExecutorKit, run_id: str = "run-1") -> dict[str, Any]:
    return await describe_run(GetRun(run_id=run_id), kit.runs, kit.journal)


async def elsewhere(*, approved: bool = True, **fields: Any) -> ExecutorKit:
    """Another stack, with an own guardrail."""
    kit = ExecutorKit(**fields)
    if approved:
        await kit.notary.deploy(kit.guardrail, DOCUMENT)
    return kit
