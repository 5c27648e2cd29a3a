"""A run's file as another stack would write it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.executor.domain.records import JournalEntry, RunRecord
from services.executor.domain.run_file import Evidence, written
from shared.events.runs import ExecuteRun, RunFinished
from shared.pipeline.loading import load_document
from shared.pipeline.step import StepResult

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


def file_of_run(run_id: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run whose steps all gave `yes`."""
    document = load_document(source)
    names = {"run_id": run_id, "pipeline": document.name, "digest": document.digest, "domain": document.domain}
    finished = RunFinished.model_validate({**names, "purpose": "production", "status": "succeeded", "outputs": "yes"})
    record = RunRecord(
        **names,
        status="succeeded",
        command_sequence=7,
        command=ExecuteRun(run_id=run_id, pipeline=f"{document.name}@{document.digest}"),
        executor_id="executor-elsewhere",
        started_at=MOMENT,
        finished=finished,
    )
    result = StepResult(value="yes", text="yes", provider="local", model="m")
    entries = [
        JournalEntry(
            run_id=run_id, position=n, epoch=1, executor_id="e", kind="step", path=step.name, type=step.type, result=result
        )
        for n, step in enumerate(document.steps)
    ]
    return written(record, entries, Evidence(document.canonical()), "0.1.0")
