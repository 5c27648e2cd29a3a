"""A run's file may hold anything: what is wrong with it is told with its place, and leaves nothing behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.executor.domain.run_file import sealed
from services.executor.domain.spending import Spending
from services.executor.use_cases import import_run, retry_run
from shared.errors import InvalidInputError, NotFoundError, ProviderError
from shared.events.runs import ExecuteRun, RetryRun
from shared.events.transfer import ImportRun
from tests.fakes.executor import ExecutorKit, new_id
from tests.fakes.language_model import ScriptedModel
from tests.fakes.two_stacks import DOCUMENT, File, elsewhere, exported, ran, taken_in

BATCH = {"batch_id": "batch-0", "family": "claude", "calls": 1, "tokens": 1}


async def problems(kit: ExecutorKit, file: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        await taken_in(kit, file)
    assert await kit.runs.get("run-1") is None, "what is wrong leaves nothing"
    assert await kit.journal.entries("run-1") == []
    return str(caught.value)


def edited(file: File, *path: Any, value: Any, seal: bool = True) -> File:
    copy = json.loads(json.dumps(file))
    parent = copy
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    return sealed(copy) if seal else copy


async def test_every_disagreement_in_a_file_is_told_with_its_place() -> None:
    file, here = await exported(await ran()), await elsewhere()
    for path, value, told in (
        (("version",), 2, "version: '2' is no version that is read here; 1 is (import it with the Evoline that wrote it"),
        (("version",), "1", "version: '1' is no version"),
        (("format",), "zip", "format: is not 'evoline.run'"),
        (("extra",), 1, "extra: Extra inputs are not permitted"),
        (("run", "run_id"), "../x", "run.finished.run_id"),
        (("run", "digest"), "0" * 64, "run.finished.digest: is not '0000"),
        (("run", "digest"), "stable", "run.digest: is no SHA-256"),
        (("run", "status"), "failed", "run.finished.status: is not 'failed'"),
        (("run", "status"), "great", "run.status: Input should be"),
        (("run", "command", "inputs"), [1], "run.command.inputs: Input should be a valid dictionary"),
        (("run", "command", "run_id"), "run-2", "run.command.run_id: is not run-1"),
        (("run", "started_at"), "2026-11-26T10:00:00", "run.started_at: has no time zone"),
        (("run", "epoch"), 0, "run.epoch: is not from 1"),
        (("run", "command_attempt"), 10**30, "run.command_attempt: is not from 0"),
        (("run", "finished", "finished_at"), "yesterday", "run.finished.finished_at: is no RFC 3339 time"),
        (("run", "command", "pipeline"), None, "run.command: names neither"),
        (("document",), None, "document: is missing, though steps were executed"),
        (("document", "steps", 0, "prompt"), "another", "document: its digest is"),
        (("document", "steps", 0, "type"), "claud", "document.steps"),
        (("attestation", "digest"), "0" * 64, "attestation.digest: approves another revision"),
        (("attestation", "signature"), "x", "attestation.signature: Extra inputs"),
        (("journal", 1, "position"), 0, "journal[1].position: 0 stands twice"),
        (("journal", 1, "position"), 5, "journal[1].position: 5 does not follow"),
        (("journal", 1, "run_id"), "run-2", "journal[1].run_id: is not run-1"),
        (("journal", 1, "epoch"), 9, "journal[1].epoch: 9 is not from 1 to 1"),
        (("journal", 1, "path"), "one", "journal[1].path: step one ended before"),
        (("journal", 1, "path"), "three", "journal[1].path: the document has no step three"),
        (("journal", 1, "kind"), "claim", "journal[1].result: a step has a result, and nothing else has"),
        (("journal", 1, "result"), None, "journal[1].result: a step has a result"),
        (("journal", 1, "result", "status"), "fine", "journal[1].result.status: Input should be"),
        (("journal", 1, "usage", "calls"), "many", "journal[1].usage.calls"),
        (("journal", 1, "batch"), BATCH, "journal[1].batch: a line of a batch has one, and nothing else has"),
        (("run", "command", "pools"), ["run-9"], "run.command.pools: what runs share does not travel"),
        (("journal",), {}, "journal: Input should be a valid tuple"),
        (("sha256",), "0" * 64, "sha256: the file was changed or damaged"),
    ):  # fmt: skip
        found = await problems(here, edited(file, *path, value=value, seal=path != ("sha256",)))
        assert told in found, f"{path}: {found}"


async def test_an_imported_run_that_was_nested_is_retried_without_what_it_shared() -> None:
    there = ExecutorKit(model=ScriptedModel(["yes", ProviderError("server", "broken")]))
    await there.notary.deploy(there.guardrail, DOCUMENT)
    await there.executor.pools.open("outer", Spending(steps=9, calls=9, tokens=9000, cost_usd=1.0))
    await there.execute(ExecuteRun(run_id="run-1", pipeline="asking", inputs={"topic": "rain"}, pools=("outer",)))
    here = await elsewhere()
    await taken_in(here, await exported(there))
    ((_, order),) = await retry_run(RetryRun(run_id="run-1"), new_id(), here.executor)
    assert isinstance(order, ExecuteRun)
    assert (await here.execute(order)).status == "succeeded"


async def test_many_things_that_are_wrong_are_told_at_once() -> None:
    file = edited(await exported(await ran()), "journal", 1, "position", value=7)
    found = await problems(await elsewhere(), edited(file, "run", "command", "run_id", value="run-2"))
    assert "run.command.run_id" in found and "journal[1].position" in found


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "is not JSON: Expecting value (column 1)"),
        (b'{"format": "evoline.run",\n "version": 1,}', "2: is not JSON"),
        (b"\xff\xfe{}", "is not UTF-8 text: byte 0"),
        (b"[1]", "is no JSON object"),
        (b'"text"', "is no JSON object"),
        (b'{"a": NaN}', "NaN is no JSON value"),
        (b'{"a": 1e999}', "1e999 is too large a number"),
        (b'{"a": 1, "a": 2}', "a: stands twice in one object"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON: Exceeds the limit"),
        (b"[" * 100_000, "nested deeper than 200 levels"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "nested deeper than 200 levels"),
        (b"[" + b"[]," * 2_000_000 + b"1]", "more than 2,000,000 values"),
        (b'"' + b"[" * 100_000 + b'"', "is no JSON object"),
        (b'{"format": "evoline.run", "version": 1, "a": "\\ud800", "sha256": ""}', "halves of characters"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:30],
)
async def test_hostile_bytes_are_refused_before_anything_is_made_of_them(body: bytes, told: str) -> None:
    kit = ExecutorKit()
    reference = await kit.blobs.store(body)
    with pytest.raises(InvalidInputError) as caught:
        await import_run(ImportRun(run_id="run-1", file=reference.written()), kit.executor)
    assert told in str(caught.value)


async def test_an_end_that_no_message_could_carry_is_refused() -> None:
    file = await exported(await ran())
    step = file["run"]["finished"]["steps"][0]
    found = await problems(await elsewhere(), edited(file, "run", "finished", "steps", value=[step] * 5000))
    assert "run.finished: takes" in found


async def test_a_reference_to_nothing_is_told() -> None:
    here = await elsewhere()
    reference = {"evoline:value": {"sha256": "0" * 64, "bytes": 3}}
    with pytest.raises(NotFoundError):
        await import_run(ImportRun(run_id="run-1", file=reference), here.executor)
