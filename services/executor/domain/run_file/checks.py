"""What must agree inside a run's file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import get_args

from services.executor.domain.records import JournalEntry, RunRecord
from services.executor.domain.run_file.form import RunFile
from shared.errors import Problem
from shared.events.runs import RunStatus

ENDED = get_args(RunStatus)
_DIGEST = re.compile("([0-9a-f]{64})?")
"""None where nothing was found to run."""
MAX_PATH = 1000
MAX_COUNT = 1_000_000_000
COUNTERS = {"epoch": 1, "command_attempt": 0, "generation": 0, "retries": 0}
"""With their least values."""
SAME = ("run_id", "pipeline", "digest", "domain", "status", "retries")
"""Fields of the run that its end repeats."""


def problems_in(file: RunFile) -> list[Problem]:
    return [*_of_run(file.run), *_of_evidence(file), *_of_journal(file)]


def _of_run(run: RunRecord) -> Iterator[Problem]:
    if run.status not in ENDED or run.finished is None:
        yield Problem(path="run.status", reason=f"it is {run.status}", suggestion="export the run again once it has ended")
        return
    yield from _of_order(run)
    for name in SAME:
        if getattr(run.finished, name) != getattr(run, name):
            yield Problem(path=f"run.finished.{name}", reason=f"is not {getattr(run, name)!r} as in the run")
    if not _DIGEST.fullmatch(run.digest):
        yield Problem(path="run.digest", reason="is no SHA-256 in hex digits")
    if run.started_at.tzinfo is None:
        yield Problem(path="run.started_at", reason="has no time zone")
    if not _is_moment(run.finished.finished_at):
        yield Problem(path="run.finished.finished_at", reason="is no RFC 3339 time")
    for name, least in COUNTERS.items():
        if not least <= getattr(run, name) <= MAX_COUNT:
            yield Problem(path=f"run.{name}", reason=f"is not from {least} to {MAX_COUNT:,}")


def _of_order(run: RunRecord) -> Iterator[Problem]:
    if run.command.run_id != run.run_id:
        yield Problem(path="run.command.run_id", reason=f"is not {run.run_id}")
    if run.command.scope is not None:
        yield Problem(path="run.command.scope", reason="a scope does not travel")
    if run.command.pools:
        yield Problem(path="run.command.pools", reason="what runs share does not travel")
    if run.command.continuation is not None:
        yield Problem(path="run.command.continuation", reason="a run that ended is not being continued")
    if run.digest and run.command.pipeline is None and run.command.document is None:
        yield Problem(path="run.command", reason="names neither a pipeline nor a document")


def _is_moment(text: str) -> bool:
    """Empty where none was told."""
    try:
        return not text or datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _of_evidence(file: RunFile) -> Iterator[Problem]:
    left_out = "document" in file.redacted
    if file.document is None and file.journal and not left_out:
        yield Problem(path="document", reason="is missing, though steps were executed")
    if file.document is not None and not file.run.digest:
        yield Problem(path="run.digest", reason="is missing, though there is a document")
    if file.attestation is not None and file.attestation.kind == "revision" and file.attestation.digest != file.run.digest:
        yield Problem(path="attestation.digest", reason="approves another revision than the one that was run")


def _of_journal(file: RunFile) -> Iterator[Problem]:
    epoch = 0
    for number, entry in enumerate(file.journal):
        place = f"journal[{number}]"
        if entry.run_id != file.run.run_id:
            yield Problem(path=f"{place}.run_id", reason=f"is not {file.run.run_id}")
        if entry.position != number:
            twice = "stands twice" if entry.position < number else "does not follow the one before"
            yield Problem(path=f"{place}.position", reason=f"{entry.position} {twice}")
        if not epoch <= entry.epoch <= file.run.epoch:
            yield Problem(path=f"{place}.epoch", reason=f"{entry.epoch} is not from {epoch} to {file.run.epoch}")
        epoch = max(epoch, entry.epoch)
        yield from _of_entry(entry, place)
    yield from _of_steps(file.journal)


def _of_entry(entry: JournalEntry, place: str) -> Iterator[Problem]:
    if (entry.result is not None) != (entry.kind == "step"):
        yield Problem(path=f"{place}.result", reason="a step has a result, and nothing else has")
    if (entry.batch is not None) != (entry.kind == "batch"):
        yield Problem(path=f"{place}.batch", reason="a line of a batch has one, and nothing else has")
    if bool(entry.path) != (entry.kind != "claim" or entry.verb == "fork"):
        yield Problem(path=f"{place}.path", reason="a step, wait, batch or fork has a path, and another claim has none")
    if len(entry.path) > MAX_PATH:
        yield Problem(path=f"{place}.path", reason=f"is longer than {MAX_PATH} characters")
    if entry.at is not None and entry.at.tzinfo is None:
        yield Problem(path=f"{place}.at", reason="has no time zone")


def _of_steps(entries: Sequence[JournalEntry]) -> Iterator[Problem]:
    """A step ends once, unless a retry discarded it."""
    ended: set[str] = set()
    for number, entry in enumerate(entries):
        if entry.kind == "step":
            if entry.path in ended:
                yield Problem(path=f"journal[{number}].path", reason=f"step {entry.path[:100]} ended before")
            ended.add(entry.path)
        ended -= set(entry.discards)
