"""How a run ended, from what its steps did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from services.executor.domain.control import live_entries, since_retry
from services.executor.domain.records import JournalEntry, RunRecord
from shared.errors import EvolineError, InvalidInputError, LimitReachedError
from shared.events.runs import RunFinished, RunStatus, StepFact
from shared.events.values import Usage
from shared.pipeline.step import REPLAYED

MAX_RUN_FINISHED_BYTES = 900_000
"""Below what one message of the broker takes, headers included."""
MAX_ERROR_CHARACTERS = 4000


@dataclass(frozen=True)
class Outcome:
    status: RunStatus
    outputs: Any = None
    error: str = ""
    error_code: str = ""


def error_code(error: BaseException) -> str:
    if isinstance(error, LimitReachedError):
        return f"{error.code}:{error.limit}"
    return error.code if isinstance(error, EvolineError) else "internal"


def error_text(error: BaseException) -> str:
    text = str(error) if isinstance(error, EvolineError) else f"{type(error).__name__}: {error}"
    return text[:MAX_ERROR_CHARACTERS]


def failed(error: BaseException) -> Outcome:
    return Outcome("failed", error=error_text(error), error_code=error_code(error))


def refused(error: EvolineError) -> Outcome:
    return Outcome("refused", error=error_text(error), error_code=error_code(error))


def completed(outputs: Any, entries: Iterable[JournalEntry]) -> Outcome:
    """A degraded answer or a failure that the run went on after makes the run degraded."""
    flawed = any(entry.result is not None and entry.result.status in ("degraded", "failed") for entry in entries)
    return Outcome("degraded" if flawed else "succeeded", outputs=outputs)


def step_fact(entry: JournalEntry) -> StepFact:
    result = entry.result
    assert result is not None, "only step entries hold facts"
    return StepFact(
        name=entry.path.rsplit(".", 1)[-1],
        type=entry.type,
        position=entry.path,
        status=result.status,
        provider=result.provider,
        model=result.model,
        usage=entry.usage,
        latency_seconds=result.latency_seconds,
        attempts=result.attempts,
        cache_hit=result.cache_hit,
        error=result.error,
        models=entry.models,
    )


def executed_steps(entries: Iterable[JournalEntry]) -> int:
    """Nested runs' included; what was skipped, or taken over from another run, was not executed."""
    return sum(entry.nested_steps + (entry.epoch > 0 and _was_started(entry)) for entry in entries if entry.kind == "step")


def _was_started(entry: JournalEntry) -> bool:
    result = entry.result
    assert result is not None
    refused = entry.ends_run and result.error_code == "limit_reached:steps" and result.latency_seconds == 0
    return result.status != "skipped" and not refused


def _is_replayed(entry: JournalEntry) -> bool:
    return entry.result is not None and REPLAYED in entry.result.warnings


@dataclass(frozen=True)
class Ending:
    """What the end of a run is told with."""

    record: RunRecord
    outcome: Outcome
    entries: Sequence[JournalEntry]
    """The whole journal; told is what happened since the run ended before."""
    usage: Usage
    executor_id: str
    finished_at: datetime


def run_finished(ending: Ending) -> RunFinished:
    """The fact that ends a run. Of more steps than a message carries the first ones are told; outputs that none carries make the
    run a failure."""
    finished = _run_finished(ending, ending.outcome)
    try:
        size = _size(finished)
    except PydanticSerializationError as error:
        return run_finished(replace(ending, outcome=failed(InvalidInputError(f"the outputs cannot be written as JSON: {error}"))))
    if size <= MAX_RUN_FINISHED_BYTES:
        return finished
    bare = finished.model_copy(update={"steps": ()})
    size = _size(bare)
    if size <= MAX_RUN_FINISHED_BYTES:
        return _with_first_steps(bare, finished.steps, MAX_RUN_FINISHED_BYTES - size)
    limit = LimitReachedError("message_bytes", f"the end of the run takes {size:,} bytes, {MAX_RUN_FINISHED_BYTES:,} is the most")
    return _run_finished(ending, failed(limit)).model_copy(update={"steps": (), "steps_left_out": len(finished.steps)})


def _size(message: BaseModel) -> int:
    """Bytes as JSON."""
    return len(message.model_dump_json().encode())


def _with_first_steps(bare: RunFinished, steps: Sequence[StepFact], room: int) -> RunFinished:
    told = []
    for step in steps:
        room -= _size(step) + 1
        if room < len('"steps_left_out":1000000,'):
            break
        told.append(step)
    return bare.model_copy(update={"steps": tuple(told), "steps_left_out": len(steps) - len(told)})


def _run_finished(ending: Ending, outcome: Outcome) -> RunFinished:
    record, command, told = ending.record, ending.record.command, since_retry(ending.entries)
    return RunFinished(
        run_id=record.run_id,
        pipeline=record.pipeline,
        digest=record.digest,
        domain=record.domain,
        purpose=command.purpose,
        status=outcome.status,
        outputs=outcome.outputs,
        error=outcome.error,
        error_code=outcome.error_code,
        usage=ending.usage,
        latency_seconds=record.running_seconds(ending.finished_at),
        queued_seconds=record.queued_seconds,
        resumed=max(0, record.epoch - 1 - record.generation),
        retries=record.retries,
        forked_from=command.forked_from,
        steps_executed=executed_steps(told),
        replayed=any(map(_is_replayed, (*live_entries(ending.entries).values(), *told))),
        faulted=command.faults is not None,
        steps=tuple(step_fact(entry) for entry in told if entry.kind == "step"),
        group_id=command.group_id,
        case_id=command.case_id,
        scope_id=command.scope.scope.scope_id if command.scope else None,
        parent_run_id=command.parent_run_id,
        tenant=command.tenant,
        executor_id=ending.executor_id,
        started_at=record.started_at.isoformat(),
        finished_at=ending.finished_at.isoformat(),
        arm=record.arm,
        rollout_id=record.rollout_id,
        unit_id=command.unit_id,
        shadow_of=command.shadow_of,
    )
