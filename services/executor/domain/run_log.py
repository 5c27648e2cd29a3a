"""What a run did, line by line, from its record and its journal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from services.executor.domain.records import JournalEntry, RunRecord
from shared.events.values import Usage
from shared.telemetry.redaction import redact_text

Line = dict[str, Any]
MAX_TEXT = 1000
MAX_CONTROLS = 100
"""The latest are told."""
MAX_WARNINGS = 20
LEVELS = {"ok": "info", "skipped": "info", "succeeded": "info", "degraded": "warning", "cancelled": "warning"}
"""Of a status; any other is an error."""


def lines_of_run(record: RunRecord) -> Iterator[Line]:
    """Beginning, what people did, suspension and end."""
    command = record.command
    fork = command.forked_from
    origin = f", forked from {fork.run_id} at {fork.from_step}" if fork else ""
    inside = f", inside run {command.parent_run_id}" if command.parent_run_id else ""
    queued = f" after {record.queued_seconds:.3f} s in the queue" if record.queued_seconds else ""
    revision = f"{record.pipeline}@{record.digest[:12]}" if record.digest else record.pipeline
    text = f"{revision} for {command.purpose}, claimed by {record.claimed_by or record.executor_id}{queued}{origin}{inside}"
    yield _line("started", record.started_at, "started", text, purpose=command.purpose, queued_seconds=record.queued_seconds)
    first = max(0, len(record.controls) - MAX_CONTROLS)
    for number, control in enumerate(record.controls[first:], start=first):
        text = f"{control.verb} by {control.author}{_because(control.reason)}"
        yield _line(f"control:{number}", control.at, "control", text, verb=control.verb, author=control.author)
    if record.is_suspended:
        until = f" until {record.suspended_until.isoformat()}" if record.suspended_until else ""
        text = f"{record.status}{until}{_because(record.suspended_for)}"
        yield _line(f"suspended:{record.epoch}", record.suspended_at, "suspended", text, status=record.status)
    if record.finished is not None:
        yield _end(record)


def _end(record: RunRecord) -> Line:
    finished = record.finished
    assert finished is not None
    error = _error(finished.error_code, finished.error)
    text = f"{finished.status} after {finished.latency_seconds:.3f} s, {_used(finished.usage)}{error}"
    moment = datetime.fromisoformat(finished.finished_at) if finished.finished_at else None
    facts = {"status": finished.status, "error_code": finished.error_code, "usage": finished.usage.model_dump(mode="json")}
    return _line(f"finished:{finished.retries}", moment, "finished", text, level=_level(finished.status), **facts)


def line_of_entry(entry: JournalEntry, started_at: datetime) -> Line:
    """What a fork begins with was written before it started, so without a time of its own."""
    text, level, facts = {"claim": _claim, "wait": _wait, "batch": _batch, "step": _step}[entry.kind](entry)
    return _line(f"journal:{entry.position}", entry.at or started_at, entry.kind, text, level=level, **facts)


def _claim(entry: JournalEntry) -> tuple[str, str, Line]:
    verb = entry.verb or "takeover"
    again = f", executes again: {', '.join(entry.discards)}" if entry.discards else ""
    level = "info" if entry.verb else "warning"
    if entry.verb == "fork":
        return "takes over the steps that its source finished before", level, {"verb": verb, "executor_id": entry.executor_id}
    return f"{verb} by {entry.executor_id}{again}", level, {"verb": verb, "executor_id": entry.executor_id}


def _wait(entry: JournalEntry) -> tuple[str, str, Line]:
    until = entry.until.isoformat() if entry.until else ""
    text = f"{entry.path}: {entry.attempts} attempts failed, the next is made at {until}, {_used(entry.usage)}"
    return text, "warning", {"path": entry.path, "attempts": entry.attempts, "until": until}


def _batch(entry: JournalEntry) -> tuple[str, str, Line]:
    batch = entry.batch
    assert batch is not None
    text = f"{entry.path}: {batch.calls} requests were handed over as batch {batch.batch_id}"
    return text, "info", {"path": entry.path, "batch_id": batch.batch_id, "calls": batch.calls}


def _step(entry: JournalEntry) -> tuple[str, str, Line]:
    result = entry.result
    assert result is not None
    by = f", {result.provider}/{result.model}" if result.model else ""
    cached = ", kept answer" if result.cache_hit else ""
    attempts = f", {result.attempts} attempts" if result.attempts > 1 else ""
    warnings = [_cut(each) for each in result.warnings[:MAX_WARNINGS]]
    warned = "".join(f"; warning: {each}" for each in warnings)
    chosen = f"; chosen because {result.selection['reason']}" if result.selection.get("reason") else ""
    text = (
        f"{entry.path} ({entry.type}): {result.status} in {result.latency_seconds:.3f} s{attempts}{by}{cached}, "
        f"{_used(entry.usage)}{_error(result.error_code, result.error)}{warned}{chosen}"
    )
    facts: Line = {
        "path": entry.path,
        "type": entry.type,
        "status": result.status,
        "attempts": result.attempts,
        "latency_seconds": result.latency_seconds,
        "provider": result.provider,
        "model": result.model,
        "cache_hit": result.cache_hit,
        "usage": entry.usage.model_dump(mode="json"),
        "error_code": result.error_code,
        "warnings": warnings,
        "executor_id": entry.executor_id,
    }
    level = _level(result.status)
    return text, "warning" if warnings and level == "info" else level, facts


def _line(name: str, at: datetime | None, kind: str, text: str, *, level: str = "info", **facts: Any) -> Line:
    shown: Mapping[str, Any] = {
        "id": name,
        "at": at.isoformat() if at else None,
        "kind": kind,
        "level": level,
        "text": _cut(text, 4 * MAX_TEXT),
    }
    return {**shown, **facts}


def _level(status: str) -> str:
    return LEVELS.get(status, "error")


def _used(usage: Usage) -> str:
    return f"{usage.calls} calls, {usage.input_tokens}+{usage.output_tokens} tokens, ${usage.cost_usd:.4g}"


def _error(code: str, error: str) -> str:
    return f"; [{code}] {_cut(error)}" if error or code else ""


def _because(reason: str) -> str:
    return f": {_cut(reason)}" if reason else ""


def _cut(text: str, most: int = MAX_TEXT) -> str:
    """On one line, without secrets."""
    line = " ".join(redact_text(text).split())
    return line if len(line) <= most else f"{line[:most]}..."
