"""What the learner needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.learner.domain.mining import ScoredRevision
from shared.events.improvement import Pattern


class KnowledgeStore(Protocol):
    """Scored revisions, patterns and templates; each is written by id, so that a repeat changes nothing."""

    async def add_revision(self, revision: ScoredRevision) -> bool:
        """Keeps the measurement with more cases; False if nothing changed."""
        ...

    async def revisions(self, domain: str | None) -> Sequence[ScoredRevision]:
        """Those that are not quarantined."""
        ...

    async def count_run(self, run_id: str, digest: str, succeeded: bool, at: datetime) -> None: ...
    async def runs(self) -> int: ...
    async def forget_runs(self, now: datetime, after: timedelta) -> int:
        """Those that were counted longer ago; how many, bounded: the next round goes on."""
        ...

    async def quarantine(self, digests: Sequence[str]) -> None:
        """Measurements and templates of these digests, present and future ones."""
        ...

    async def replace_patterns(self, learning_id: str, patterns: Sequence[Pattern], at: str) -> None:
        """These and no others."""
        ...

    async def save_patterns(self, learning_id: str, patterns: Sequence[Pattern], at: str) -> None: ...
    async def patterns(self, limit: int) -> Sequence[Pattern]: ...
    async def propose_template(self, change_id: str, record: Mapping[str, Any]) -> bool: ...
    async def template(self, change_id: str) -> dict[str, Any] | None: ...
    async def approve_template(self, change_id: str, digest: str) -> bool:
        """False, and nothing written, for one that is quarantined."""
        ...

    async def templates(self, limit: int) -> Sequence[dict[str, Any]]: ...


class SeedTemplates(Protocol):
    def documents(self) -> Sequence[Mapping[str, Any]]: ...


class GainStore(Protocol):
    """Claims of promotions by change id, production runs, reports of them, and the outcomes that both together make."""

    async def note(self, change_id: str, fields: Mapping[str, Any]) -> None:
        """Adds fields to a claim, which may be unknown so far."""
        ...

    async def claim(self, change_id: str) -> dict[str, Any] | None: ...
    async def claims_of(self, pipeline: str, digest: str) -> list[dict[str, Any]]:
        """Deployed ones in which this revision is the promoted one."""
        ...

    async def latest(self, pipeline: str | None, limit: int) -> list[dict[str, Any]]:
        """Claims that were looked at, newest look first."""
        ...

    async def add_run(self, run_id: str, run: Mapping[str, Any], at: datetime) -> None: ...
    async def add_report(self, run_id: str, score: float, at: datetime) -> None:
        """The first of a run stays."""
        ...

    async def join(self, run_id: str) -> dict[str, Any] | None:
        """The run with its score, where both are known: counted as an outcome from then on."""
        ...

    async def count(self, pipeline: str, digest: str) -> int:
        """Outcomes of a revision."""
        ...

    async def served(self, pipeline: str, digest: str, arm: str) -> int:
        """Runs of a revision that are remembered, scored or not; in an arm of a rollout where one is named."""
        ...

    async def outcomes(self, pipeline: str, digests: Sequence[str]) -> list[dict[str, Any]]:
        """The newest ones of each revision, at most some thousands; `count` tells how many there are."""
        ...

    async def forget(self, now: datetime, *, reports_after: timedelta, runs_after: timedelta) -> int:
        """Reports, and runs with their outcomes, that are older; how many."""
        ...


class GainGauges(Protocol):
    def gains(self, points: Mapping[tuple[str, str], float], outcomes: Mapping[str, int]) -> None:
        """(strategy, claimed or realised) -> points, and how many claims came to which outcome: all of them."""
        ...
