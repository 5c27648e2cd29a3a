"""What the learner needs from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    async def count_run(self, run_id: str, digest: str, succeeded: bool) -> None: ...
    async def runs(self) -> int: ...
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
