"""Questions about runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from services.executor.domain.control import live_entries
from services.executor.domain.records import JournalEntry, RunRecord
from services.executor.ports import Journal, RunStore
from shared.errors import NotFoundError
from shared.events.runs import FinishedRuns, GetRun, ListRuns

MAX_ANSWER_BYTES = 900_000


async def describe_run(query: GetRun, runs: RunStore, journal: Journal) -> dict[str, Any]:
    record = await runs.get(query.run_id)
    if record is None:
        raise NotFoundError(f"no run {query.run_id!r}; `evoline runs --purpose all` lists them")
    entries = await journal.outline(query.run_id)
    imported = record.imported.model_dump(mode="json") if record.imported else None
    live = live_entries(entries)
    steps = [_step(entry, live=live.get(entry.path) is entry) for entry in entries if entry.kind == "step"]
    finished = record.finished.model_dump(mode="json", exclude={"steps"}) if record.finished else {}
    command = record.command.model_dump(mode="json", exclude={"run_id", "scope"})
    described = {
        **command,
        "run_id": record.run_id,
        "pipeline": record.pipeline,
        "reference": record.command.pipeline,
        "digest": record.digest,
        "domain": record.domain,
        "executor_id": record.executor_id,
        "epoch": record.epoch,
        "started_at": record.started_at.isoformat(),
        "queued_seconds": record.queued_seconds,
        "outputs": None,
        **finished,
        "status": record.status,
        "generation": record.generation,
        "retries": record.retries,
        "held_seconds": record.held_seconds,
        **_suspension(record),
        **({"imported": imported} if imported else {}),
        "controls": [control.model_dump(mode="json") for control in record.controls],
        "claims": [
            {"position": entry.position, "epoch": entry.epoch, "executor_id": entry.executor_id, "verb": entry.verb}
            for entry in entries
            if entry.kind == "claim"
        ],
    }
    told = _fitting(steps[query.steps_from :], MAX_ANSWER_BYTES - _size(described))
    return {**described, "steps": told, "steps_from": query.steps_from, "steps_total": len(steps)}


def _fitting(steps: Sequence[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """As many from the first on as there is room for; of one that alone is too large, all but what it gave."""
    told, left = [], room
    for step in steps:
        shown = step if _size(step) <= room else {**step, "value": None, "text": "", "variables": {}, "left_out": True}
        left -= _size(shown)
        if left < 0:
            break
        told.append(shown)
    return told


def _size(value: Any) -> int:
    """Bytes that it takes in an answer, its comma included."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")) + len(",")


def _suspension(record: RunRecord) -> dict[str, Any]:
    if not record.is_suspended:
        return {}
    until = record.suspended_until.isoformat() if record.suspended_until else None
    since = record.suspended_at.isoformat() if record.suspended_at else None
    return {"suspended": {"since": since, "until": until, "reason": record.suspended_for}}


async def finished_runs(query: FinishedRuns, runs: RunStore) -> dict[str, Any]:
    """As many as fit into one answer; the asker asks again for the others."""
    told: list[dict[str, Any]] = []
    room = MAX_ANSWER_BYTES
    for run in await runs.finished(query.run_ids):
        room -= len(run.model_dump_json().encode())
        if told and room < 0:
            break
        told.append(run.model_dump(mode="json"))
    return {"runs": told}


async def list_runs(query: ListRuns, runs: RunStore) -> dict[str, Any]:
    return {"runs": await runs.latest(query)}


def _step(entry: JournalEntry, *, live: bool) -> dict[str, Any]:
    """`live` is false for what a retry executed again."""
    assert entry.result is not None
    return {
        **entry.result.model_dump(mode="json"),
        "position": entry.path,
        "type": entry.type,
        "usage": entry.usage.model_dump(mode="json"),
        "variables": entry.variables,
        "epoch": entry.epoch,
        "live": live,
        "at": entry.at.isoformat() if entry.at else None,
    }
