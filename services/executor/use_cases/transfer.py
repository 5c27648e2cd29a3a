"""Runs leave as files, and files of runs come in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from services.executor.domain.control import top_level_of
from services.executor.domain.outcome import MAX_RUN_FINISHED_BYTES
from services.executor.domain.records import RunRecord
from services.executor.domain.run_file import RunFile, kept_record, read_run_file, written
from services.executor.use_cases.executor import Executor
from services.executor.use_cases.resume import Effects, known_run
from shared.errors import InvalidInputError, LimitReachedError, Problem
from shared.events.runs import RunFinished
from shared.events.transfer import ExportRun, ImportRun, RunImported
from shared.large_values import MAX_VALUE_BYTES, reference_in

MAX_PART_BYTES = 1_000_000
"""Of a run document's order and of its controls: more than any run has that came over the bus."""
LINES_AT_ONCE = 64
TOLD_PLACES = 50


async def export_run(query: ExportRun, at: Executor) -> dict[str, Any]:
    """Raises `NotFoundError` for an unknown run, or one of whose values is not kept any more, and `LimitReachedError`."""
    record = await known_run(query.run_id, at.runs)
    _check_fits(record, await at.journal.bytes_elsewhere(record.run_id))
    entries = await at.journal.entries(record.run_id)
    whole = await _unpacked(record, at)
    evidence = await at.admission.evidence(record)
    # Beside the event loop: other runs' heartbeats go on meanwhile.
    file = await asyncio.to_thread(written, whole, entries, evidence, at.version)
    packed: dict[str, Any] = await at.values.pack({"run_id": record.run_id, "file": file})
    return packed


async def import_run(command: ImportRun, at: Executor) -> Effects:
    """Keeps the run; nothing of it is executed or counted. Raises `InvalidInputError` with everything that is wrong with the file,
    or where its run id is that of another run.

    The run document comes first: it takes the id, and nobody else writes at its journal's positions then. What a crash left
    out is made up for by the next delivery."""
    body = await at.values.written(command.file)
    file = await asyncio.to_thread(read_run_file, body)
    if file.run.run_id != command.run_id:
        raise InvalidInputError(
            Problem(path="run.run_id", reason=f"is {file.run.run_id}, and not {command.run_id} as in the command")
        )
    _check_document(file, at)
    await _keep(await _packed(kept_record(file, command, at.clock.now()), at), at)
    for first in range(0, len(file.journal), LINES_AT_ONCE):
        await asyncio.gather(*(at.journal.append(entry) for entry in file.journal[first : first + LINES_AT_ONCE]))
    return [("imported", _told(file, command))]


async def _keep(record: RunRecord, at: Executor) -> None:
    """Nothing where it is kept already."""
    if await at.runs.claim(record):
        return
    known = await known_run(record.run_id, at.runs)
    assert record.imported is not None
    if known.imported is None or known.imported.sha256 != record.imported.sha256:
        kind = (
            "another run, one that this stack was told to execute"
            if known.imported is None
            else "a run that was imported from another file"
        )
        raise InvalidInputError(Problem(path="run.run_id", reason=f"{record.run_id} is the id of {kind}"))


def _check_document(file: RunFile, at: Executor) -> None:
    """The document is what the run's digest names, and the journal is one of its runs."""
    if file.document is None:
        return
    try:
        loaded = at.admission.load(file.document)
    except InvalidInputError as error:
        problems = [each.model_copy(update={"path": f"document.{each.path}".rstrip(".")}) for each in error.problems]
        raise InvalidInputError(problems) from error
    if loaded.digest != file.run.digest:
        reason = f"its digest is {loaded.digest[:12]}, the run's is {file.run.digest[:12]}"
        raise InvalidInputError(Problem(path="document", reason=reason))
    names = {step.name for step in loaded.document.steps}
    unknown = [
        Problem(path=f"journal[{number}].path", reason=f"the document has no step {top_level_of(entry.path)[:100]}")
        for number, entry in enumerate(file.journal)
        if entry.kind != "claim" and top_level_of(entry.path) not in names
    ]
    if unknown:
        raise InvalidInputError(unknown[:50])


def _check_fits(record: RunRecord, journal_bytes: int) -> None:
    """Before it is loaded."""
    outputs = record.finished.outputs if record.finished else None
    size = journal_bytes + sum(_bytes_elsewhere(value) for value in (record.command.inputs, outputs))
    if size > MAX_VALUE_BYTES:
        raise LimitReachedError(
            "value_bytes", f"the values of run {record.run_id} take {size:,} bytes, {MAX_VALUE_BYTES:,} is the most for one file"
        )


def _bytes_elsewhere(value: Any) -> int:
    try:
        found = [reference_in(value), *(reference_in(member) for member in (value.values() if isinstance(value, Mapping) else ()))]
    except InvalidInputError:
        return 0  # an own value that only looks like a reference
    return sum(reference.bytes for reference in found if reference is not None)


async def _unpacked(record: RunRecord, at: Executor) -> RunRecord:
    command = record.command.model_copy(update={"inputs": await at.values.unpack(record.command.inputs)})
    finished = record.finished
    if finished is not None:
        finished = finished.model_copy(update={"outputs": await at.values.unpack(finished.outputs)})
    return record.model_copy(update={"command": command, "finished": finished})


async def _packed(record: RunRecord, at: Executor) -> RunRecord:
    finished = record.finished
    assert finished is not None
    command = record.command.model_copy(update={"inputs": await at.values.pack(record.command.inputs)})
    finished = finished.model_copy(update={"outputs": await at.values.pack(finished.outputs)})
    packed = record.model_copy(update={"command": command, "finished": finished})
    _check_sizes(packed, finished)
    return packed


def _check_sizes(record: RunRecord, finished: RunFinished) -> None:
    parts = (
        ("run.finished", finished.model_dump_json(), MAX_RUN_FINISHED_BYTES),
        ("run.command", record.command.model_dump_json(), MAX_PART_BYTES),
        ("run.controls", record.model_dump_json(include={"controls"}), MAX_PART_BYTES),
    )
    problems = [
        Problem(path=path, reason=f"takes {len(text):,} characters, {most:,} is the most")
        for path, text, most in parts
        if len(text) > most
    ]
    if problems:
        raise InvalidInputError(problems)


def _told(file: RunFile, command: ImportRun) -> RunImported:
    run = file.run
    return RunImported(
        run_id=run.run_id,
        pipeline=run.pipeline,
        digest=run.digest,
        status=run.status,
        sha256=file.sha256,
        lines=len(file.journal),
        redacted=file.redacted[:TOLD_PLACES],
        author=command.author,
    )
