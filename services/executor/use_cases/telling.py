"""What others are told about a run. Told again it is the same message."""

from __future__ import annotations

from services.executor.domain.outcome import Ending, Outcome
from services.executor.domain.records import JournalEntry, RunRecord
from services.executor.domain.shadow import shadow_run
from services.executor.use_cases.executor import Executor
from shared.events.runs import RunFinished, RunSuspended
from shared.events.values import Usage


async def announce_end(record: RunRecord, finished: RunFinished, at: Executor) -> RunFinished:
    """Then, where the run was chosen for it, has it repeated on the shadow revision."""
    effect = f"finished:{finished.retries}" if finished.retries else "finished"
    await at.announcer.announce(finished, cause=finished.run_id, effect=effect)
    if (shadow := shadow_run(record, finished, at.clock.now())) is not None:
        await at.shadows.start(shadow)
    return finished


async def announce_suspension(record: RunRecord, at: Executor) -> None:
    assert record.is_suspended
    fact = RunSuspended(
        run_id=record.run_id,
        pipeline=record.pipeline,
        digest=record.digest,
        status="paused" if record.status == "paused" else "waiting",
        until=record.suspended_until.isoformat() if record.suspended_until else None,
        reason=record.suspended_for,
        generation=record.generation,
    )
    await at.announcer.announce(fact, cause=record.run_id, effect=f"{record.status}:{record.epoch}")


def ending_of(record: RunRecord, outcome: Outcome, entries: tuple[JournalEntry, ...], usage: Usage, at: Executor) -> Ending:
    return Ending(record, outcome, entries, usage, at.executor_id, at.clock.now())
