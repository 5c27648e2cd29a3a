"""What is told, kept for tests to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from shared.events.message import Fact, derive_id
from shared.events.runs import ExecuteRun

Facts = list[tuple[str, Fact]]


class SilentRunObserver:
    def claimed(self, purpose: str, queued_seconds: float) -> None: ...
    def taken_over(self) -> None: ...
    def finished(self, purpose: str, status: str, seconds: float) -> None: ...
    def step(self, step_type: str, status: str, seconds: float) -> None: ...


@dataclass
class RecordingAnnouncer:
    """Facts under the ids that the bus would give them."""

    facts: Facts = field(default_factory=list)

    async def announce(self, fact: Fact, *, cause: str, effect: str) -> None:
        self.facts.append((derive_id(cause, effect), fact))

    def of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for _, fact in self.facts if isinstance(fact, kind)]


@dataclass
class RecordingShadows:
    started: dict[str, ExecuteRun] = field(default_factory=dict)

    async def start(self, command: ExecuteRun) -> None:
        self.started.setdefault(command.run_id, command)


@dataclass
class RecordingTimers:
    """Commands that the broker would publish, by key."""

    set: dict[str, tuple[ExecuteRun, datetime]] = field(default_factory=dict)

    async def publish_at(self, command: ExecuteRun, moment: datetime, *, key: str) -> None:
        self.set[key] = (command, moment)
