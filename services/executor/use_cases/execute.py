"""One command, one run: claim or take over, run, finish, tell."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from services.executor.domain.admission import Admitted, split_reference
from services.executor.domain.control import SuspendRun, Suspension, check_not_imported, set_going
from services.executor.domain.delivery import CommandDelivery
from services.executor.domain.inputs import checked_inputs
from services.executor.domain.meter import RunMeter, tightened
from services.executor.domain.outcome import Outcome, executed_steps, failed, refused, run_finished
from services.executor.domain.records import LOCAL_SEQUENCE, RunFencedError, RunRecord, check_same_order
from services.executor.engine import RunEngine, RunJournal, RunState, RunTime, SharedLimits
from services.executor.engine.children import IsHeld, IsOver
from services.executor.engine.patience import patiently
from services.executor.engine.run_journal import fenced_journal
from services.executor.use_cases.executor import Executor
from services.executor.use_cases.suspension import suspend
from services.executor.use_cases.telling import announce_end, announce_suspension, ending_of
from shared.errors import LimitReachedError, NotFoundError, PermanentError, UnavailableError
from shared.events.runs import Continuation, ExecuteRun, RunFinished, RunStarted
from shared.events.values import Usage

OUTER_ENDED = Outcome("cancelled", error="the run that it belongs to has ended", error_code="cancelled")


async def execute_run(command: ExecuteRun, delivery: CommandDelivery, at: Executor) -> RunFinished | None:
    """The run's end, stored and published; None where another command's run of this id is under way.

    Raises `RunFencedError` where the run was taken over by another executor, `UnavailableError` of the stores, `InvalidInputError`
    where the run id is that of another run."""
    if command.continuation is not None:
        return await _go_on(command, command.continuation, delivery, at)
    if delivery.may_be_known and (known := await at.runs.get(command.run_id)) is not None:
        return await _continue(known, command, delivery, at)
    record, admitted, refusal = await _admitted(command, delivery, at)
    if admitted is None:
        return await _refuse(record, refusal, delivery, at)
    with at.quotas.held_by(record):
        if not await at.runs.claim(record):
            at.quotas.drop(record)
            await at.admission.release(command)
            return await _continue(await _stored(command.run_id, at), command, delivery, at)
        at.observer.claimed(command.purpose, record.queued_seconds)
        try:
            taken_over = await at.journal.entries(record.run_id) if command.forked_from else ()
        except PermanentError as error:
            return await _end_unread(record, error, at)
        return await _run(record, admitted, RunJournal(at.journal, record, at.clock, taken_over), delivery, at)


async def run_child(command: ExecuteRun, outer_is_over: IsOver, is_held: IsHeld, at: Executor) -> RunFinished:
    """A nested run in its parent's executor, without a command of the broker behind it: `is_held` is the parent's."""
    delivery = CommandDelivery(sequence=LOCAL_SEQUENCE, attempt=2, outer_is_over=outer_is_over, is_held=is_held)
    finished = await execute_run(command, delivery, at)
    if finished is None:
        raise UnavailableError(f"nested run {command.run_id} is held by another executor")
    return finished


async def _admitted(command: ExecuteRun, delivery: CommandDelivery, at: Executor) -> tuple[RunRecord, Admitted | None, Outcome]:
    try:
        admitted = await at.admission.admit(command)
        loaded = admitted.loaded
        record = _record(command, delivery, at, name=admitted.pipeline)
        record = record.model_copy(update={"digest": loaded.digest, "domain": loaded.document.domain})
        return await at.quotas.admitted(record, loaded.document.limits), admitted, Outcome("refused")
    except PermanentError as error:
        name = split_reference(command.pipeline)[0] if command.pipeline else str((command.document or {}).get("name", ""))
        return _record(command, delivery, at, name=name), None, refused(error)


def _record(command: ExecuteRun, delivery: CommandDelivery, at: Executor, *, name: str) -> RunRecord:
    now = at.clock.now()
    return RunRecord(
        run_id=command.run_id,
        command_sequence=delivery.sequence,
        command_attempt=delivery.attempt,
        command=command,
        pipeline=name,
        digest="",
        domain="",
        executor_id=at.executor_id,
        claimed_by=at.executor_id,
        started_at=now,
        queued_seconds=delivery.queued_seconds(now),
    )


async def _refuse(record: RunRecord, refusal: Outcome, delivery: CommandDelivery, at: Executor) -> RunFinished | None:
    """A run that may not start is stored with its end at once, so that whoever asks for it is told."""
    finished = run_finished(ending_of(record, refusal, (), Usage(), at))
    ended = record.model_copy(update={"status": finished.status, "finished": finished})
    if not await at.runs.claim(ended):
        return await _continue(await _stored(record.run_id, at), record.command, delivery, at)
    return await _tell(finished, at)


async def _continue(known: RunRecord, command: ExecuteRun, delivery: CommandDelivery, at: Executor) -> RunFinished | None:
    """A run that was claimed before: told again if it ended, taken over if its command came back, else left to its owner."""
    if command.parent_run_id is None and delivery.sequence != known.command_sequence:
        check_same_order(known.command, command)
    check_not_imported("execute", known)
    if known.finished is not None:
        await _clear(at.services.workspace_dir / known.run_id)
        return await announce_end(known.finished, at)
    if known.is_suspended:
        # Its command was not acknowledged in time; another one will set it going.
        await announce_suspension(known, at)
        return None
    if not delivery.may_take_over(known.command_sequence):
        return None
    if delivery.sequence == known.command_sequence and delivery.attempt < known.command_attempt:
        # It lay in the buffers of a stalled process. Should the broker have lost count, the next delivery is counted higher.
        raise RunFencedError(f"a later delivery of the command of run {known.run_id} holds it")
    record = await at.runs.take_over(known, at.executor_id, delivery.sequence, delivery.attempt)
    if record is None:
        raise RunFencedError(f"run {known.run_id} was taken over by another executor")
    at.observer.taken_over()
    return await _own(record, delivery, at)


async def _go_on(command: ExecuteRun, continuation: Continuation, delivery: CommandDelivery, at: Executor) -> RunFinished | None:
    """Sets a suspended or ended run going, once; a redelivery continues it like any other run."""
    known = await at.runs.get(command.run_id)
    if known is None:
        raise NotFoundError(f"no run {command.run_id} to go on with")
    if known.generation == continuation.generation and delivery.sequence == known.command_sequence:
        return await _continue(known, command, delivery, at)
    going = set_going(known, continuation, at.clock.now())
    if going is None:
        return None
    ownership = {"executor_id": at.executor_id, "command_sequence": delivery.sequence, "command_attempt": delivery.attempt}
    record = going.model_copy(update={"epoch": known.epoch + 1, **ownership})
    if not await at.runs.change(known, record):
        raise RunFencedError(f"run {known.run_id} was changed by somebody else")
    return await _own(record, delivery, at)


async def _own(record: RunRecord, delivery: CommandDelivery, at: Executor) -> RunFinished | None:
    """Goes on with a run whose epoch is ours, behind what its journal holds."""
    tolerated = await at.admission.tolerated_failures(record)
    try:
        journal = await fenced_journal(at.journal, record, at.clock, tolerated)
    except PermanentError as error:
        return await _end_unread(record, error, at)
    try:
        if journal.fruitless_takeovers >= at.max_takeovers:
            raise LimitReachedError("takeovers", f"{journal.fruitless_takeovers} executors were lost in the same step")
        admitted = await at.admission.admit_again(record)
        record = await _charged_again(record, admitted, at)
    except PermanentError as error:
        return await _end_early(record, refused(error), journal, at)
    with at.quotas.held_by(record):
        return await _run(record, admitted, journal, delivery, at)


async def _charged_again(record: RunRecord, admitted: Admitted, at: Executor) -> RunRecord:
    """A run that had ended has given back what it held: retried, it needs as much again."""
    if record.going_for != "retry":
        return record
    charged = await at.quotas.admitted(record, admitted.loaded.document.limits)
    if charged.quota == record.quota or await at.runs.change(record, charged):
        return charged
    at.quotas.drop(charged)
    raise RunFencedError(f"run {record.run_id} was taken over by another executor")


async def _end_unread(record: RunRecord, error: PermanentError, at: Executor) -> RunFinished:
    """A value that the journal refers to is gone or damaged: the run cannot go on, and what it did is told all the same."""
    journal = await fenced_journal(at.journal, record, at.clock, whole=False)
    return await _end_early(record, failed(error), journal, at)


async def _end_early(record: RunRecord, outcome: Outcome, journal: RunJournal, at: Executor) -> RunFinished:
    """Of a run that does not go on, with what former owners nested in it."""
    if record.epoch > 1:
        await at.services.children.end_open(record.run_id)
    return await _finish(record, outcome, journal, journal.usage, at)


async def _run(
    record: RunRecord, admitted: Admitted, journal: RunJournal, delivery: CommandDelivery, at: Executor
) -> RunFinished | None:
    command, document = record.command, admitted.loaded.document
    try:
        limits = tightened(document.limits, command.limits)
        await at.services.batches.check(document)
        inputs = checked_inputs(document, await at.values.unpack(command.inputs))
    except PermanentError as error:
        return await _end_early(record, refused(error), journal, at)
    meter = RunMeter(limits, steps=executed_steps(journal.steps), usage=journal.usage)
    left = limits.seconds - record.running_seconds(at.clock.now())
    time = RunTime(left, limits.seconds, delivery.outer_is_over)
    deadline = at.clock.monotonic() + left
    shared = SharedLimits(at.pools, at.clock, await _pools_of(record, at))
    state = RunState(record, document, inputs, meter, journal, time, shared, deadline, delivery.is_held, at.services.answers)
    outcome = await _outcome(state, at)
    await shared.close()
    if isinstance(outcome, Suspension):
        return await suspend(record, outcome, at)
    if record.epoch > 1 and time.is_over:
        await at.services.children.end_open(record.run_id)
    finished = await _finish(record, outcome, journal, meter.usage, at)
    if state.has_workspace or record.epoch > 1:
        await _clear(at.services.workspace_dir / record.run_id)
    if time.outer_is_over:
        raise asyncio.CancelledError
    return finished


async def _pools_of(record: RunRecord, at: Executor) -> tuple[str, ...]:
    """Those that it was given, and its own, where a former owner has opened one."""
    pools = record.command.pools
    if record.epoch > 1 and await patiently(lambda: at.pools.is_open(record.run_id), at.clock):
        return (*pools, record.run_id)
    return pools


async def _outcome(state: RunState, at: Executor) -> Outcome | Suspension:
    """How the run ended. A process that stops cuts the run off without an end: another executor continues it."""
    time = state.time
    if time.outer_is_over:
        return OUTER_ENDED
    try:
        async with _started(state.record, at), at.watch.watching(state.record, time), time.running():
            return await RunEngine(state, at.services).run()
    except SuspendRun as end:
        return end.suspension
    except TimeoutError:
        if not time.is_cut:
            raise
        return time.pausing or time.outcome
    except asyncio.CancelledError:
        if not time.outer_is_over:
            raise
        return OUTER_ENDED
    except PermanentError as error:
        # Of the journal: no other executor could write it either.
        return failed(error)


@contextlib.asynccontextmanager
async def _started(record: RunRecord, at: Executor) -> AsyncIterator[None]:
    """Publishes `RunStarted` beside the first steps; it is stored before the run's end is. A former owner may have been lost before
    it was; then and else it is the same fact."""
    command = record.command
    fact = RunStarted(
        run_id=record.run_id,
        pipeline=record.pipeline,
        digest=record.digest,
        purpose=command.purpose,
        group_id=command.group_id,
        case_id=command.case_id,
        executor_id=record.claimed_by or record.executor_id,
    )
    telling = asyncio.create_task(at.announcer.announce(fact, cause=record.run_id, effect="started"))
    try:
        yield
        await telling
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _clear(folder: Path) -> None:
    """A run's files end with it."""
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _finish(record: RunRecord, outcome: Outcome, journal: RunJournal, usage: Usage, at: Executor) -> RunFinished:
    await at.services.batches.end_open(journal.open_batches)
    outcome = await _packed(outcome, at)
    told = usage - journal.usage_before_retry if record.retries else usage
    finished = run_finished(ending_of(record, outcome, journal.entries, told, at))
    await at.runs.finish(record, finished)
    at.quotas.ended(record, finished)
    return await _tell(finished, at)


async def _packed(outcome: Outcome, at: Executor) -> Outcome:
    try:
        return replace(outcome, outputs=await at.values.pack(outcome.outputs))
    except PermanentError as error:
        return failed(error)


async def _tell(finished: RunFinished, at: Executor) -> RunFinished:
    at.observer.finished(finished.purpose, finished.status, finished.latency_seconds)
    return await announce_end(finished, at)


async def _stored(run_id: str, at: Executor) -> RunRecord:
    record = await at.runs.get(run_id)
    if record is None:
        raise UnavailableError(f"run {run_id} is claimed but cannot be read yet")
    return record
