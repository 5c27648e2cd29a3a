"""Runs as files, from one stack to another, and what a run did line by line."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from shared.events.message import Command, Fact, Query
from shared.events.values import Identifier


class ExportRun(Query):
    """Answer: `{run_id, file}`. `file` is all that is kept of the run, without secrets: `{format, version, evoline, run, document,
    attestation, journal, redacted, sha256}`; `{"evoline:value": {sha256, bytes}}` stands for one above 256 KiB, which is an object
    of that name in the bucket `values`. The same run gives the same file."""

    subject: ClassVar[str] = "api.executor.export_run"
    owner: ClassVar[str] = "executor"

    run_id: Identifier


class ImportRun(Command):
    """Keeps a run that ended elsewhere: to be shown, listed and read, or forked and retried where its revision is approved here. It
    is not executed and counts nowhere. The same file again changes nothing."""

    subject: ClassVar[str] = "cmd.executor.import"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    """As in the file."""
    file: dict[str, Any]
    """What `ExportRun` gave, or `{"evoline:value": {sha256, bytes}}` for an object of that name in the bucket `values`."""
    author: Identifier = "anonymous"
    reason: str = Field(default="", max_length=2000)


class RunImported(Fact):
    """A run that ended elsewhere is kept here now, or was before."""

    subject: ClassVar[str] = "evt.run.imported"
    owner: ClassVar[str] = "executor"

    run_id: str
    pipeline: str
    digest: str
    status: str
    """How it ended there."""
    sha256: str
    """Of the file."""
    lines: int
    """Of its journal."""
    redacted: tuple[str, ...] = ()
    """Places where the export left a secret out."""
    author: str = "anonymous"


class GetRunLog(Query):
    """Answer: `{run_id, pipeline, status, lines, next, more}`. A line is `{id, at, kind, level, text, ...}` with `kind` `started`,
    `claim`, `step`, `wait`, `control`, `suspended` or `finished`.

    Lines of the journal come from the position `after` on; with `more`, ask again with `after` = `next`. Those of the run itself
    come in every answer, under the same `id`."""

    subject: ClassVar[str] = "api.executor.run_log"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    after: int = Field(default=0, ge=0)
    limit: int = Field(default=500, ge=1, le=5000)
