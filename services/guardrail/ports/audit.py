"""The audit log, and what is kept beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from services.guardrail.domain.audit import AuditEntry, AuditNote
from shared.audit.checkpoints import Checkpoint, TreeHead
from shared.audit.merkle import Node


class AuditLog(Protocol):
    async def append(self, note: AuditNote, *, is_first: bool = False) -> AuditEntry:
        """Adds it at the end; the same key again is the same entry. `is_first`: the caller won the write that gives it the right to
        this key just now, so that no entry from before has to be sought. Raises `AuditLogUnsoundError`."""
        ...

    async def find(self, key: str) -> AuditEntry | None: ...
    async def entries(self) -> Sequence[AuditEntry]: ...
    async def check(self, heads: Sequence[TreeHead] = ()) -> tuple[str, ...]:
        """Recomputes the whole log and compares it with checkpoints. Faults close it for appending, until a later check."""
        ...

    @property
    def is_sound(self) -> bool:
        """False after a look that found faults."""
        ...

    def require_sound(self) -> None:
        """Raises `AuditLogUnsoundError` unless it is."""
        ...

    async def head(self) -> TreeHead:
        """Size and root now, recomputed from what is stored. Raises `AuditLogUnsoundError`."""
        ...

    async def page(self, after: int, limit: int) -> Sequence[dict[str, Any]]:
        """Entries as they are stored, by number from `after` + 1."""
        ...

    async def matching(self, filters: Mapping[str, Any], limit: int) -> Sequence[dict[str, Any]]:
        """Newest first."""
        ...

    async def nodes(self, wanted: Sequence[Node]) -> Mapping[Node, bytes]:
        """Raises `NotFoundError` where the log does not hold one."""
        ...

    async def count(self) -> int:
        """Documents in the log's collection, entries or not."""
        ...


class LateNotes(Protocol):
    """What was done while the log was closed."""

    async def keep(self, note: AuditNote, at: str) -> AuditNote:
        """The one that is kept under this key: the first."""
        ...

    async def find(self, key: str) -> AuditNote | None: ...
    async def all(self) -> Sequence[tuple[AuditNote, str]]:
        """With the moment since when each is kept, oldest first."""
        ...

    async def remove(self, key: str) -> None: ...


class Checkpoints(Protocol):
    """Signed checkpoints outside the store."""

    def latest(self) -> Checkpoint | None: ...
    def all(self) -> Sequence[Checkpoint]:
        """Oldest first."""
        ...

    def add(self, checkpoint: Checkpoint) -> None: ...
