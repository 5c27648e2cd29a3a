"""Questions about runs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shared.events.message import Query
from shared.events.runs.values import RunPurpose
from shared.events.values import Identifier


class GetRun(Query):
    """Answer: the run document with its journal: `{run_id, status, pipeline, digest, inputs, outputs, steps: [...], ...}`.

    Of `steps_total` steps as many are told as fit; who wants more asks again with `steps_from`. Large values are references, or
    `left_out`."""

    subject: ClassVar[str] = "api.executor.get_run"
    owner: ClassVar[str] = "executor"

    run_id: Identifier
    steps_from: int = Field(default=0, ge=0)
    """Steps that the asker knows already."""


class FinishedRuns(Query):
    """Answer: `{runs: [RunFinished, ...]}` for those of `run_ids` that have ended; the others are left out."""

    subject: ClassVar[str] = "api.executor.finished_runs"
    owner: ClassVar[str] = "executor"

    run_ids: tuple[Identifier, ...] = Field(min_length=1, max_length=500)


class ListRuns(Query):
    """Answer: `{runs: [{run_id, pipeline, digest, purpose, status, latency_seconds, started_at, ...}]}` newest first."""

    subject: ClassVar[str] = "api.executor.list_runs"
    owner: ClassVar[str] = "executor"

    pipeline: str | None = None
    status: str | None = None
    purpose: RunPurpose | None = "production"
    """None lists all purposes."""
    imported: bool | None = None
    """True lists only runs that were imported, False only others."""
    limit: int = Field(default=20, ge=1, le=500)
