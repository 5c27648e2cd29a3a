"""One run's view of its journal: what is finished, and the one place where the next entry goes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.executor.domain.control import (
    calls_begun,
    failed_paths,
    live_entries,
    open_batches,
    since_retry,
    submitted,
    total_usage,
    waited,
)
from services.executor.domain.model_uses import merged
from services.executor.domain.records import JournalEntry, RunFencedError, RunRecord, SubmittedBatch
from services.executor.ports import Journal
from shared.clock import Clock
from shared.events.runs import ModelUse
from shared.events.values import Usage
from shared.pipeline.step import StepResult

NO_USAGE = Usage()


@dataclass(frozen=True)
class Spent:
    """What attempts at a step used."""

    usage: Usage = NO_USAGE
    models: tuple[ModelUse, ...] = ()
    nested_steps: int = 0

    def __add__(self, other: Spent) -> Spent:
        models = merged((*self.models, *other.models))
        return Spent(self.usage + other.usage, models, self.nested_steps + other.nested_steps)


NOTHING_SPENT = Spent()


@dataclass(frozen=True)
class FinishedStep:
    """What one journal line says about a step."""

    path: str
    type: str
    result: StepResult
    usage: Usage = NO_USAGE
    models: tuple[ModelUse, ...] = ()
    nested_steps: int = 0
    variables: dict[str, Any] = field(default_factory=dict)
    ends_run: bool = False


class RunJournal:
    """Appends of one run are serialized: each takes the next position, which only one owner can write.

    An append runs to its end even if who waits for it is cancelled; otherwise the position of the next one would be unknown."""

    def __init__(self, journal: Journal, record: RunRecord, clock: Clock, entries: Sequence[JournalEntry] = ()) -> None:
        self._journal = journal
        self._clock = clock
        self._record = record
        self._entries = list(entries)
        self._by_path = live_entries(entries)
        self._lock = asyncio.Lock()
        self._fault: BaseException | None = None

    @property
    def entries(self) -> tuple[JournalEntry, ...]:
        return tuple(self._entries)

    @property
    def steps(self) -> list[JournalEntry]:
        return [entry for entry in self._entries if entry.kind == "step"]

    @property
    def live_steps(self) -> list[JournalEntry]:
        """Finished steps that count: those that a retry executes again do not."""
        return list(self._by_path.values())

    @property
    def usage(self) -> Usage:
        """Of all attempts, those before a retry included."""
        return total_usage(self._entries)

    @property
    def usage_before_retry(self) -> Usage:
        return total_usage(self._entries[: len(self._entries) - len(since_retry(self._entries))])

    @property
    def calls_begun(self) -> int:
        """By the run itself, in what the journal holds."""
        return calls_begun(self._entries)

    @property
    def fruitless_takeovers(self) -> int:
        """Owners that were lost since a step was finished, or the run was set going, last."""
        fruitful = (entry.epoch for entry in self._entries if entry.kind != "claim" or entry.verb)
        return self._record.epoch - max((1, *fruitful))

    def finished(self, path: str) -> JournalEntry | None:
        return self._by_path.get(path)

    def waited(self, path: str) -> JournalEntry | None:
        """How far attempts at a step had come when the run gave its place away."""
        return waited(self._entries, path)

    async def claim(self, tolerated: Collection[str] = ()) -> None:
        """Fences former owners: they meet this entry where they would write next. Raises `RunFencedError` if one was faster.

        The first claim after the run was set going says so; for a retry it discards what failed, except where the run went on
        after it (`tolerated`)."""
        record, entries = self._record, self._entries
        if not record.generation or any(entry.verb and entry.generation == record.generation for entry in entries):
            await self._append({"kind": "claim"})
            return
        discards = failed_paths(entries, tolerated) if record.going_for == "retry" else ()
        await self._append({"kind": "claim", "verb": record.going_for, "generation": record.generation, "discards": discards})

    async def wait(self, path: str, attempts: int, spent: Spent, until: datetime) -> None:
        """Notes that a step is to be attempted again later."""
        used = {"usage": spent.usage, "models": spent.models}
        await self._append({"kind": "wait", "path": path, "attempts": attempts, "until": until, **used})

    def submitted(self, path: str) -> JournalEntry | None:
        """The batch that a step waits for."""
        return submitted(self._entries, path)

    @property
    def open_batches(self) -> list[JournalEntry]:
        return open_batches(self._entries)

    async def submit(self, path: str, batch: SubmittedBatch) -> JournalEntry:
        """Notes that a step waits for a batch, so that it is not submitted again."""
        return await self._append({"kind": "batch", "path": path, "batch": batch})

    async def append(self, step: FinishedStep) -> JournalEntry:
        """Returns when the step is on disk. Raises `RunFencedError` where the run has another owner."""
        fields = {name: getattr(step, name) for name in FinishedStep.__dataclass_fields__}
        return await self._append({"kind": "step", **fields})

    async def _append(self, fields: dict[str, Any]) -> JournalEntry:
        return await asyncio.shield(asyncio.ensure_future(self._append_next(fields)))

    async def _append_next(self, fields: dict[str, Any]) -> JournalEntry:
        async with self._lock:
            if self._fault is not None:
                raise self._fault
            entry = JournalEntry(
                run_id=self._record.run_id,
                position=len(self._entries),
                epoch=self._record.epoch,
                executor_id=self._record.executor_id,
                at=self._clock.now(),
                **fields,
            )
            try:
                await self._journal.append(entry)
            except Exception as error:
                # Whether it was written is not known, or it belongs to another: this owner writes nothing more.
                self._fault = error
                raise
            self._entries.append(entry)
            self._by_path = live_entries(self._entries) if entry.discards else self._by_path
            if entry.kind == "step":
                self._by_path[entry.path] = entry
            return entry


async def fenced_journal(
    journal: Journal, record: RunRecord, clock: Clock, tolerated: Collection[str] = (), *, whole: bool = True
) -> RunJournal:
    """The journal of a run that was taken over, with this owner's claim at its end (see `RunJournal.claim`).

    A former owner may write one more step meanwhile; then the claim goes behind that. `whole` is false for a run that is only to be
    ended: large values are not needed then. Raises `RunFencedError` where a newer owner's claim stands already, and what reading
    large values raises."""
    while True:
        entries = await (journal.entries if whole else journal.outline)(record.run_id)
        if any(entry.epoch > record.epoch for entry in entries):
            raise RunFencedError(f"run {record.run_id} has a newer owner than epoch {record.epoch}")
        opened = RunJournal(journal, record, clock, entries)
        try:
            await opened.claim(tolerated)
        except RunFencedError:
            continue
        return opened
