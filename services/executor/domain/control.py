"""Setting runs going again, and what that keeps of their journal. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.executor.domain.records import LOCAL_SEQUENCE, Control, JournalEntry, RunRecord, Suspended
from shared.errors import InvalidInputError, Problem
from shared.events.message import derive_id
from shared.events.runs import Continuation, ControlVerb, ExecuteRun
from shared.events.values import Usage

ALLOWED: dict[ControlVerb, tuple[str, ...]] = {
    "resume": ("paused", "waiting"),
    "wake": ("waiting",),
    "retry": ("degraded", "failed", "refused", "cancelled"),
}
"""From which states a run can be set going."""
ADVICE = {
    "running": "wait for its end, or cancel it first",
    "paused": "resume it",
    "waiting": "resume it to go on at once",
    "succeeded": "it ended well; fork it to run it differently",
    "degraded": "retry it, or fork it",
    "failed": "retry it, or fork it",
    "refused": "retry it once it may run",
    "cancelled": "retry it, or fork it",
}
"""What can be done with a run in this state."""


@dataclass(frozen=True)
class Suspension:
    """Why a run gives its place away."""

    status: Suspended
    reason: str
    author: str = "executor"
    until: datetime | None = None


class SuspendRun(Exception):  # noqa: N818  no error: the run goes on later
    """Raised where a run gives its place away; no step may take it for its failure."""

    def __init__(self, suspension: Suspension) -> None:
        self.suspension = suspension
        super().__init__(suspension.reason)


def check_may(verb: str, record: RunRecord, allowed: Sequence[str]) -> None:
    """Raises `InvalidInputError` with what to do instead."""
    if record.command_sequence == LOCAL_SEQUENCE and record.finished is None:
        raise _refusal(verb, record, f"it runs inside run {record.command.parent_run_id}", f"{verb} that one")
    if record.status not in allowed:
        raise _refusal(verb, record, f"its status is {record.status}", ADVICE[record.status])


def check_not_imported(verb: str, record: RunRecord) -> None:
    """Raises `InvalidInputError` for a run of another stack, which is only kept here."""
    if record.is_inert:
        raise _refusal(verb, record, "it was imported and is not executed here", "fork or retry it")


def check_carried(verb: str, record: RunRecord, replaced: Collection[str], positions: Collection[int] | None = None) -> None:
    """Raises `InvalidInputError` where the export of an imported run left out a secret that going on would need: in inputs that are
    not `replaced`, or in the journal (at these positions, or anywhere)."""
    for place in record.imported.redacted if record.imported and record.is_inert else ():
        name = place.removeprefix("run.command.inputs.").partition(".")[0].partition("[")[0]
        if place.startswith("run.command.inputs.") and name not in replaced:
            raise _refusal(verb, record, f"the export left a secret out of input {name}", f"fork it with the input {name}")
        position = place.removeprefix("journal[").partition("]")[0]
        if place.startswith("journal[") and (positions is None or int(position) in positions):
            raise _refusal(verb, record, f"the export left a secret out of {place}", "fork it from an earlier step")


def _refusal(verb: str, record: RunRecord, reason: str, suggestion: str) -> InvalidInputError:
    return InvalidInputError(Problem(path="run_id", reason=f"cannot {verb} run {record.run_id}: {reason}", suggestion=suggestion))


def next_command(record: RunRecord, verb: ControlVerb, author: str = "executor", reason: str = "") -> ExecuteRun:
    """The command that sets a run going; doing it twice is the same command."""
    retries = record.retries + (verb == "retry")
    continuation = Continuation(generation=record.generation + 1, retries=retries, verb=verb, author=author, reason=reason)
    return record.command.model_copy(update={"continuation": continuation})


def set_going(record: RunRecord, continuation: Continuation, now: datetime) -> RunRecord | None:
    """The run as it goes on; None where this was done before, or the run is in no state for it any more."""
    if continuation.generation != record.generation + 1 or record.status not in ALLOWED[continuation.verb]:
        return None
    retried = continuation.verb == "retry"
    control = Control(verb=continuation.verb, author=continuation.author, reason=continuation.reason, at=now)
    return record.model_copy(
        update={
            "status": "running",
            "generation": continuation.generation,
            "going_for": continuation.verb,
            "retries": record.retries + retried,
            "held_seconds": _held_seconds(record, continuation.verb, now),
            "finished": None,
            "suspended_at": None,
            "suspended_until": None,
            "suspended_for": "",
            "controls": (*record.controls, control),
        }
    )


def _held_seconds(record: RunRecord, verb: ControlVerb, now: datetime) -> float:
    """A pause does not count as the run's time, waiting for another attempt does, and a retry starts anew."""
    if verb == "retry":
        return max(0.0, (now - record.started_at).total_seconds())
    if record.status == "paused" and record.suspended_at is not None:
        return record.held_seconds + max(0.0, (now - record.suspended_at).total_seconds())
    return record.held_seconds


def live_entries(entries: Sequence[JournalEntry]) -> dict[str, JournalEntry]:
    """Finished steps by path, without those that a retry discarded."""
    live: dict[str, JournalEntry] = {}
    for entry in entries:
        if entry.kind == "step":
            live[entry.path] = entry
        for path in entry.discards:
            live.pop(path, None)
    return live


def failed_paths(entries: Sequence[JournalEntry], tolerated: Collection[str]) -> tuple[str, ...]:
    """Steps to execute again in a retry: top-level ones that failed and are not `tolerated` (`on_error: continue`), and inside
    them the last one of its scope that failed. A failure that others went on after stays: what came after has seen it."""
    live = live_entries(entries)
    outer = {path for path, entry in live.items() if _is_top_level(path) and _failed(entry) and path not in tolerated}
    last = {_scope(path): path for path in live}
    inner = {path for path, entry in live.items() if _failed(entry) and last[_scope(path)] == path and top_level_of(path) in outer}
    return tuple(path for path in live if path in outer or path in inner)


def _is_top_level(path: str) -> bool:
    return top_level_of(path) == path


def top_level_of(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def _failed(entry: JournalEntry) -> bool:
    return entry.result is not None and entry.result.status == "failed"


def _scope(path: str) -> str:
    return path.rpartition(".")[0]


def since_retry(entries: Sequence[JournalEntry]) -> Sequence[JournalEntry]:
    """What happened since the run ended before: all that its next end tells."""
    starts = [number for number, entry in enumerate(entries) if entry.verb == "retry"]
    return entries[starts[-1] + 1 :] if starts else entries


def total_usage(entries: Sequence[JournalEntry]) -> Usage:
    total = Usage()
    for entry in entries:
        total += entry.usage
    return total


def calls_begun(entries: Sequence[JournalEntry]) -> int:
    """Of the run's own calls to models those behind steps that finished or wait; a step that was cut off makes its calls anew.
    Calls of nested runs and of batches are not among them."""
    waiting = {entry.path for entry in entries if entry.kind == "wait"}
    parked = (entry for path in sorted(waiting) if (entry := waited(entries, path)) is not None)
    told = [*(entry for entry in entries if entry.kind == "step"), *parked]
    return sum(use.calls for entry in told for use in entry.models)


def waited(entries: Sequence[JournalEntry], path: str) -> JournalEntry | None:
    """The last wait of a step that has not finished since."""
    return _last(entries, path, "wait")


def submitted(entries: Sequence[JournalEntry], path: str) -> JournalEntry | None:
    """The batch that a step waits for, or waited for when its run was cut off. A retry asks anew: batches from before it ended, or
    were cancelled, with the run."""
    return _last(since_retry(entries), path, "batch")


def open_batches(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """Batches of steps that have not finished."""
    lines = {entry.path: entry for entry in since_retry(entries) if entry.kind == "batch"}
    return [line for path, line in lines.items() if submitted(entries, path) is line]


def _last(entries: Sequence[JournalEntry], path: str, kind: Literal["wait", "batch"]) -> JournalEntry | None:
    """The last line of this kind of a step that has not finished since, nor was discarded."""
    for entry in reversed(entries):
        if entry.path == path and entry.kind == kind:
            return entry
        if (entry.path == path and entry.kind == "step") or path in entry.discards:
            return None
    return None


def fork_claim(order: ExecuteRun) -> JournalEntry:
    """First line of a fork's journal; `path` names the fork, so that another one meets it where it would write its own."""
    name = derive_id(order.run_id, order.model_dump_json())
    return JournalEntry(run_id=order.run_id, position=0, epoch=0, executor_id="fork", kind="claim", verb="fork", path=name)


def copied(entry: JournalEntry, run_id: str, position: int) -> JournalEntry:
    """A finished step as a fork takes it over: it was paid for by the run that it comes from."""
    own = {"run_id": run_id, "position": position, "epoch": 0, "executor_id": "fork"}
    return entry.model_copy(update={**own, "usage": Usage(), "models": (), "nested_steps": 0})
