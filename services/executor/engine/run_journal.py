"""One run's view of its journal: what is finished, and the one place where the next entry goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.executor.domain.records import JournalEntry, RunFencedError, RunRecord
from services.executor.ports import Journal
from shared.events.values import Usage
from shared.pipeline.step import StepResult

NO_USAGE = Usage()


@dataclass(frozen=True)
class FinishedStep:
    """What one journal line says about a step."""

    path: str
    type: str
    result: StepResult
    usage: Usage = NO_USAGE
    variables: dict[str, Any] = field(default_factory=dict)
    ends_run: bool = False


class RunJournal:
    """Appends of one run are serialized: each takes the next position, which only one owner can write.

    An append runs to its end even if who waits for it is cancelled; otherwise the position of the next one would be unknown."""

    def __init__(self, journal: Journal, record: RunRecord, entries: Sequence[JournalEntry] = ()) -> None:
        self._journal = journal
        self._record = record
        self._entries = list(entries)
        self._by_path = {entry.path: entry for entry in entries if entry.kind == "step"}
        self._lock = asyncio.Lock()
        self._fault: BaseException | None = None

    @property
    def steps(self) -> list[JournalEntry]:
        return [entry for entry in self._entries if entry.kind == "step"]

    @property
    def usage(self) -> Usage:
        total = Usage()
        for entry in self.steps:
            total += entry.usage
        return total

    @property
    def fruitless_takeovers(self) -> int:
        """Owners that were lost since a step was finished last."""
        return self._record.epoch - max((entry.epoch for entry in self.steps), default=1)

    def finished(self, path: str) -> JournalEntry | None:
        return self._by_path.get(path)

    async def claim(self) -> None:
        """Fences former owners: they meet this entry where they would write next. Raises `RunFencedError` if one was faster."""
        await self._append({"kind": "claim"})

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
                **fields,
            )
            try:
                await self._journal.append(entry)
            except Exception as error:
                # Whether it was written is not known, or it belongs to another: this owner writes nothing more.
                self._fault = error
                raise
            self._entries.append(entry)
            if entry.kind == "step":
                self._by_path[entry.path] = entry
            return entry


async def fenced_journal(journal: Journal, record: RunRecord) -> RunJournal:
    """The journal of a run that was taken over, with this owner's claim at its end.

    A former owner may write one more step meanwhile; then the claim goes behind that. Raises `RunFencedError` where a newer
    owner's claim stands already."""
    while True:
        entries = await journal.entries(record.run_id)
        if any(entry.epoch > record.epoch for entry in entries):
            raise RunFencedError(f"run {record.run_id} has a newer owner than epoch {record.epoch}")
        opened = RunJournal(journal, record, entries)
        try:
            await opened.claim()
        except RunFencedError:
            continue
        return opened
