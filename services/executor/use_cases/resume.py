"""Setting runs going again, and forking them: each answers with the command that an executor then takes like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.executor.domain.control import ALLOWED, check_carried, check_may, copied, fork_claim, live_entries, next_command
from services.executor.domain.forks import check_same_steps, first_unfinished, steps_before
from services.executor.domain.records import JournalEntry, RunFencedError, RunRecord
from services.executor.ports import RunStore, Values
from services.executor.use_cases.executor import Executor
from services.executor.use_cases.suspension import stage_of
from shared.errors import InvalidInputError, NotFoundError, Problem
from shared.events.message import Message
from shared.events.runs import ControlVerb, ExecuteRun, ForkOrigin, ForkRun, ResumeRun, RetryRun

Effects = Sequence[tuple[str, Message]]


async def resume_run(command: ResumeRun, command_id: str, at: Executor) -> Effects:
    """Raises `InvalidInputError` unless the run is paused or waits. A run that somebody resumed meanwhile is not resumed twice."""
    return await _set_going(command, "resume", command_id, at)


async def retry_run(command: RetryRun, command_id: str, at: Executor) -> Effects:
    """Raises `InvalidInputError` unless the run ended without success; and for an imported one, what admission raises."""
    return await _set_going(command, "retry", command_id, at)


async def _set_going(command: ResumeRun | RetryRun, verb: ControlVerb, command_id: str, at: Executor) -> Effects:
    """Nothing where this very command did it before, and its acknowledgement was lost."""
    record = await known_run(command.run_id, at.runs)
    meant = await at.stops.meant(command_id, stage_of(record))
    if meant != stage_of(record):
        return []
    check_may(verb, record, ALLOWED[verb])
    if record.is_inert:
        await at.admission.document_of(at.admission.pinned(record))
        check_carried(verb, record, ())
    return [("execute", next_command(record, verb, command.author, command.reason))]


async def fork_run(command: ForkRun, at: Executor) -> Effects:
    """Copies what is taken over into the journal of the new run, then asks for that run. Raises `InvalidInputError` where the new
    id is taken, a step is unknown, did not finish, or is another one in the other revision; and what admission raises."""
    source = await known_run(command.run_id, at.runs)
    order = _forked_order(source, command, await _forked_inputs(source, command, at.values))
    before = await at.admission.document_of(at.admission.pinned(source))
    after = await at.admission.document_of(order)
    live = live_entries(await at.journal.outline(source.run_id))
    from_step = command.from_step or first_unfinished(after, live)
    taken = steps_before(after, from_step)
    check_same_steps(before, after, taken, live)
    origin = ForkOrigin(run_id=source.run_id, from_step=from_step, author=command.author, reason=command.reason)
    order = order.model_copy(update={"forked_from": origin})
    await _check_free(order, at.runs)
    live = live_entries(await at.journal.entries(source.run_id)) if taken else {}
    kept = [entry for path, entry in live.items() if path.partition(".")[0].partition("[")[0] in taken]
    check_carried("fork", source, command.inputs, [entry.position for entry in kept])
    await _copy(kept, order, at)
    return [("execute", order)]


async def _copy(kept: Sequence[JournalEntry], order: ExecuteRun, at: Executor) -> None:
    """The first line says which fork the journal belongs to, so that of two with one new id only one gets it."""
    try:
        await at.journal.append(fork_claim(order))
        for position, entry in enumerate(kept, start=1):
            await at.journal.append(copied(entry, order.run_id, position))
    except RunFencedError as error:
        raise _taken(order.run_id) from error


async def _forked_inputs(source: RunRecord, command: ForkRun, values: Values) -> dict[str, Any]:
    """Whole, then packed anew: an edited input may be one of those that were told together by one reference."""
    known, edited = await values.unpack(source.command.inputs), await values.unpack(command.inputs)
    packed: dict[str, Any] = await values.pack({**known, **edited})
    return packed


async def known_run(run_id: str, runs: RunStore) -> RunRecord:
    record = await runs.get(run_id)
    if record is None:
        raise NotFoundError(f"no run {run_id!r}; `evoline runs --purpose all` lists them")
    return record


def _forked_order(source: RunRecord, command: ForkRun, inputs: dict[str, Any]) -> ExecuteRun:
    """A run of its own: of the same purpose and tenant, under no parent, without a deadline."""
    known = source.command
    reference = f"{source.pipeline}@{source.digest}" if known.document is None else known.pipeline
    if command.pipeline is not None and known.document is not None:
        raise InvalidInputError(Problem(path="pipeline", reason="a run of an inline document cannot be forked to another revision"))
    return ExecuteRun(
        run_id=command.new_run_id,
        inputs=inputs,
        pipeline=command.pipeline or reference,
        document=known.document,
        scope=known.scope,
        purpose=known.purpose,
        tenant=known.tenant,
        seed=known.seed,
    )


async def _check_free(order: ExecuteRun, runs: RunStore) -> None:
    taken = await runs.get(order.run_id)
    if taken is not None and taken.command.forked_from != order.forked_from:
        raise _taken(order.run_id)


def _taken(run_id: str) -> InvalidInputError:
    return InvalidInputError(Problem(path="new_run_id", reason=f"{run_id} is the id of another run", suggestion="choose a new id"))
