"""A run that gives its place away: stored and told, and set going later by a command or a timer."""

from __future__ import annotations

from services.executor.domain.control import Suspension, next_command, open_batches, since_retry, total_usage
from services.executor.domain.outcome import Outcome, run_finished
from services.executor.domain.records import Control, RunFencedError, RunRecord
from services.executor.ports import Stage
from services.executor.use_cases.executor import Executor
from services.executor.use_cases.telling import announce_end, announce_suspension, ending_of
from shared.events.runs import RunFinished


def stage_of(record: RunRecord | None) -> Stage:
    return Stage(record.generation, record.retries) if record else Stage()


async def suspend(record: RunRecord, suspension: Suspension, at: Executor) -> RunFinished | None:
    """The end of a run that was cancelled meanwhile, else None. Raises `RunFencedError` where it has another owner.

    The timer is set before the state is stored: lost in between, the command is delivered again, and the timer finds a run that
    does not wait."""
    now = at.clock.now()
    suspended = record.model_copy(
        update={
            "status": suspension.status,
            "suspended_at": now,
            "suspended_until": suspension.until,
            "suspended_for": suspension.reason,
            "controls": _with_pause(record, suspension, at),
        }
    )
    if suspension.until is not None:
        await at.timers.publish_at(next_command(suspended, "wake"), suspension.until, key=record.run_id)
    if not await at.runs.change(record, suspended):
        raise RunFencedError(f"run {record.run_id} is not owned under epoch {record.epoch} any more")
    # Somebody may have cancelled it while it was neither watched nor stored as suspended.
    stop = (await at.stops.among([suspended])).get(record.run_id)
    if stop is not None and stop.verb == "cancel":
        return await end_suspended(suspended, stop.author, stop.reason, at)
    await announce_suspension(suspended, at)
    return None


async def end_suspended(record: RunRecord, author: str, reason: str, at: Executor) -> RunFinished:
    """Cancels a run that nobody holds, in one write, then what is nested in it; also a run of whose large values is gone."""
    entries = await at.journal.outline(record.run_id)
    await at.services.batches.end_open(open_batches(entries))
    control = Control(verb="cancel", author=author, reason=reason, at=at.clock.now())
    taken = record.model_copy(update={"epoch": record.epoch + 1, "controls": (*record.controls, control)})
    outcome = Outcome("cancelled", error=f"cancelled by {author}: {reason or 'no reason given'}", error_code="cancelled")
    finished = run_finished(ending_of(taken, outcome, tuple(entries), total_usage(since_retry(entries)), at))
    if not await at.runs.change(record, taken.model_copy(update={"status": "cancelled", "finished": finished})):
        raise RunFencedError(f"run {record.run_id} was set going meanwhile")
    at.observer.finished(finished.purpose, finished.status, finished.latency_seconds)
    await at.services.children.end_open(record.run_id)
    return await announce_end(record, finished, at)


async def hold_waiting(record: RunRecord, author: str, reason: str, at: Executor) -> None:
    """Pauses a run that waits for its timer, which then finds nothing to wake."""
    now = at.clock.now()
    control = Control(verb="pause", author=author, reason=reason, at=now)
    paused = record.model_copy(
        update={
            "status": "paused",
            "suspended_at": now,
            "suspended_until": None,
            "suspended_for": reason,
            "controls": (*record.controls, control),
        }
    )
    if not await at.runs.change(record, paused):
        raise RunFencedError(f"run {record.run_id} was set going meanwhile")
    await announce_suspension(paused, at)


def _with_pause(record: RunRecord, suspension: Suspension, at: Executor) -> tuple[Control, ...]:
    if suspension.status != "paused":
        return record.controls
    return (*record.controls, Control(verb="pause", author=suspension.author, reason=suspension.reason, at=at.clock.now()))
