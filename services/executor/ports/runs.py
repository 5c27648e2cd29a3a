"""Runs as they are kept, told, stopped and gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from services.executor.domain.records import JournalEntry, RunRecord
from shared.events.message import Fact
from shared.events.runs import ExecuteRun, ListRuns, RunFinished


class RunStore(Protocol):
    """Run documents. Every method raises `UnavailableError` where the store does not answer."""

    async def claim(self, record: RunRecord) -> bool:
        """Stores a new run; False if the run id is known. A refused run is stored with its end at once."""
        ...

    async def get(self, run_id: str) -> RunRecord | None: ...

    async def take_over(self, record: RunRecord, executor_id: str, sequence: int, attempt: int = 1) -> RunRecord | None:
        """Raises the epoch if nobody else did since `record` was read; None if somebody did, or the run ended."""
        ...

    async def finish(self, record: RunRecord, finished: RunFinished) -> None:
        """Stores the end if the run is still this owner's (epoch) and running. Raises `RunFencedError` otherwise."""
        ...

    async def change(self, known: RunRecord, changed: RunRecord) -> bool:
        """Stores another state of a run; False where it is not as it was `known` any more (epoch and status)."""
        ...

    async def finished(self, run_ids: Sequence[str]) -> list[RunFinished]:
        """The ends of those that ended here."""
        ...

    async def nested_in(self, run_id: str) -> list[RunRecord]:
        """Runs that this run began here."""
        ...

    async def latest(self, query: ListRuns) -> list[dict[str, Any]]: ...


class Journal(Protocol):
    async def append(self, entry: JournalEntry) -> None:
        """Returns when the entry is on disk. Raises `RunFencedError` where another owner wrote at this position."""
        ...

    async def entries(self, run_id: str) -> list[JournalEntry]:
        """All entries in order."""
        ...

    async def outline(self, run_id: str, after: int = 0) -> list[JournalEntry]:
        """All entries in order, or those from the position `after` on, with references for large values."""
        ...

    async def bytes_elsewhere(self, run_id: str) -> int:
        """Of large values and texts that `entries` has and `outline` has not, each wherever it stands."""
        ...


@dataclass(frozen=True)
class Stop:
    """Somebody asked a run to end or to pause."""

    verb: Literal["cancel", "pause"]
    author: str
    reason: str
    code: str = "cancelled"
    """Error code of a cancelled run."""


@dataclass(frozen=True)
class Stage:
    """How often a run had been set going again, and of that retried; 0 for one that did not start yet."""

    generation: int = 0
    retries: int = 0


class Stops(Protocol):
    """Requests to stop. A cancellation holds until the run ends, a pause until it is set going again."""

    async def meant(self, command_id: str, stage: Stage) -> Stage:
        """The stage at which this command was first received, for it is delivered again where its acknowledgement was lost."""
        ...

    async def request(self, run_id: str, stop: Stop, stage: Stage) -> None:
        """The first request of a kind counts."""
        ...

    async def among(self, runs: Sequence[RunRecord]) -> dict[str, Stop]:
        """By run id, for those of `runs` that somebody asked to stop; a cancellation before a pause."""
        ...


class Timers(Protocol):
    async def publish_at(self, command: ExecuteRun, moment: datetime, *, key: str) -> None:
        """Returns once it is certain that the command is published then. A later one of the same key replaces it."""
        ...


class Announcer(Protocol):
    async def announce(self, fact: Fact, *, cause: str, effect: str) -> None: ...


class RunObserver(Protocol):
    """Metrics."""

    def claimed(self, purpose: str, queued_seconds: float) -> None: ...
    def taken_over(self) -> None: ...
    def finished(self, purpose: str, status: str, seconds: float) -> None: ...
    def step(self, step_type: str, status: str, seconds: float) -> None: ...


class RunScope(Protocol):
    """Where a run can be stopped from outside."""

    def cancel(self, reason: str, code: str = "cancelled") -> None: ...
    def pause(self, reason: str, author: str, grace_seconds: float) -> None: ...


class CancelWatch(Protocol):
    def watching(self, record: RunRecord, scope: RunScope) -> AbstractAsyncContextManager[None]:
        """While inside, the scope is stopped within a second of a request to stop the run; for a run that had an owner before, it
        is stopped before it is entered where there is a request already. Raises `UnavailableError` then."""
        ...
