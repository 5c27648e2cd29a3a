"""What runs need from outside, named by role."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from services.executor.domain.admission import Revision
from services.executor.domain.quotas import Bound
from services.executor.domain.records import JournalEntry, RunRecord
from services.executor.domain.spending import SealedUse, Spending
from shared.events.changes import ProposeChange
from shared.events.message import Fact, Query
from shared.events.quotas import Spent
from shared.events.recovery import Freeze
from shared.events.runs import ExecuteRun, ListRuns, RunFinished
from shared.events.values import Budget, Usage
from shared.pipeline.completion import Completion
from shared.pipeline.step import MeasuredModels, Session


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


class Values(Protocol):
    """Values of inputs and outputs as messages and run documents carry them: large ones by reference."""

    async def pack(self, value: Any) -> Any:
        """Raises `LimitReachedError` above 64 MiB."""
        ...

    async def written(self, value: Any) -> bytes:
        """As JSON; of a reference what it refers to, unread. Raises as `unpack`."""
        ...

    async def unpack(self, value: Any) -> Any:
        """Raises `NotFoundError` for a reference to nothing, `InvalidInputError` for a bad one."""
        ...


class AnswerCache(Protocol):
    async def get(self, key: str) -> Completion | None: ...

    async def put(self, key: str, completion: Completion) -> None: ...


class Conversations(Protocol):
    async def load(self, name: str) -> Session:
        """An empty one of version 0 where nothing is stored."""
        ...

    async def save(self, session: Session) -> Session:
        """Raises `FencedError` where the stored version is not `session.version`."""
        ...


class ClosedScopes(Protocol):
    """The guardrail's scopes, read only."""

    async def is_closed(self, scope_id: str) -> bool: ...


class SealableScopes(Protocol):
    async def seal(self, scope_id: str) -> SealedUse:
        """From now on nothing is reserved under it. Repeatable."""
        ...


class QuotaRules(Protocol):
    """The guardrail's, read only."""

    async def bounds(self) -> tuple[Bound, ...]: ...


class LeasedRuns(Protocol):
    async def under_lease(self, lease_id: str) -> tuple[Spent, int]:
        """What runs used that were admitted under it, and how many of them have not ended."""
        ...


class ScopeLedger(Protocol):
    """Use of trial scopes, counted before it happens."""

    async def reserve(self, scope_id: str, budget: Budget, wanted: Budget) -> None:
        """Raises `LimitReachedError` naming what is used up; then nothing is counted."""
        ...

    async def settle(self, scope_id: str, reserved: Budget, used: Usage) -> None:
        """Replaces a reservation of calls and tokens by what was used."""
        ...

    async def release_run(self, scope_id: str) -> None:
        """Gives back a run that turned out to be counted already."""
        ...


class Pools(Protocol):
    """What runs that go on at the same time may use together, taken before it is used."""

    async def open(self, pool_id: str, left: Spending) -> None:
        """A pool that is open stays as it is."""
        ...

    async def is_open(self, pool_id: str) -> bool: ...

    async def take(self, pool_id: str, wanted: Spending) -> None:
        """Raises `LimitReachedError` naming what is not left; then nothing is taken."""
        ...

    async def give_back(self, pool_id: str, unused: Spending) -> None:
        """Amounts below zero are taken."""
        ...


class Revisions(Protocol):
    """The guardrail's revisions and deployments, read only."""

    async def resolve(self, pipeline: str, selector: str) -> Revision:
        """Raises `NotFoundError` where nothing is deployed or stored under this name and selector."""
        ...


@dataclass(frozen=True)
class Stopped:
    """Who took a revision back so that not even runs under way may go on, and why."""

    author: str
    reason: str


class Standing(Protocol):
    """What the guardrail stops, read only. Nothing is remembered; every method raises `UnavailableError` without the store."""

    async def freezes(self) -> tuple[Freeze, ...]: ...
    async def is_quarantined(self, digest: str) -> bool: ...
    async def read(self, digests: Collection[str]) -> tuple[tuple[Freeze, ...], Mapping[str, Stopped]]:
        """Freezes, and those of `digests` whose runs are to be cancelled."""
        ...


class Announcer(Protocol):
    async def announce(self, fact: Fact, *, cause: str, effect: str) -> None: ...


class BusChildren(Protocol):
    async def run_all(
        self, commands: Sequence[ExecuteRun], *, max_in_flight: int, deadline_seconds: float
    ) -> dict[str, RunFinished]:
        """Run id -> its end, for those that ended in time."""
        ...

    async def cancel(self, runs: Mapping[str, int], reason: str) -> None:
        """`runs`: id -> how often the run had ended before it was retried; a cancellation is for one of these times."""
        ...


@dataclass(frozen=True)
class Allowance:
    """What one computation may use."""

    cpu_seconds: float = 10.0
    memory_mb: int = 256
    """Above what the process that computes holds anyway, in MiB."""


class Computations(Protocol):
    async def compute(self, name: str, arguments: Mapping[str, Any], allowance: Allowance) -> Any:
        """A pure function of the catalogue or the work of a `data_transform`, apart from all else. Arguments are checked there.

        Raises what the function raises, `LimitReachedError` (`cpu_seconds`, `memory_mb`, `answer_bytes`, ...), and a permanent
        error where it went down otherwise."""
        ...


class Questions(Protocol):
    async def ask(self, query: Query) -> dict[str, Any]:
        """Another service's answer. Raises the typed error that it gives, or `UnavailableError`."""
        ...


class ModelRecords(Protocol):
    async def of_domain(self, domain: str) -> MeasuredModels:
        """Within a second or so, whatever happens; it raises nothing."""
        ...


class Proposals(Protocol):
    async def propose(self, change: ProposeChange, wait_seconds: float) -> dict[str, Any]:
        """Sends the proposal and waits for the guardrail's verdict: `{change_id, decision, rollout_id}`, perhaps `reasons`."""
        ...


class SharedStates(Protocol):
    """Small documents that all executors change. Every method raises `UnavailableError` where the store does not answer."""

    async def read(self, key: str) -> tuple[bytes, int]:
        """Body and revision; revision 0 and no body where there is none."""
        ...

    async def write(self, key: str, body: bytes, revision: int) -> int | None:
        """The new revision; None where the document is not the one of `revision` any more. One that was not answered may have been
        written all the same."""
        ...

    def on_change(self, key: str, call: Callable[[bytes], None]) -> None:
        """`call` is told what somebody writes, or tried to: a hint, which may get lost."""
        ...


class PermitObserver(Protocol):
    """Metrics of waiting for a provider."""

    def waited(self, provider: str, model: str, seconds: float) -> None: ...
    def not_permitted(self, provider: str, model: str, reason: str) -> None: ...
    def paused(self, provider: str, model: str) -> None: ...


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
