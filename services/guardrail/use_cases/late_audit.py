"""What only takes away goes on while the audit log is closed: freezes, rollbacks, quarantines. It is kept apart, told loudly, and
taken up by the log as soon as that is sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from services.guardrail.domain.audit import AuditEntry, AuditNote
from services.guardrail.domain.late_notes import taken_up, unplaced
from services.guardrail.ports import AuditLog, AuditLogUnsoundError, Guardrail, LateNotes
from services.guardrail.use_cases.telling import Effects
from shared.audit.checkpoints import TreeHead
from shared.audit.merkle import Node
from shared.clock import Clock
from shared.events.audit import AuditBypassed
from shared.events.message import Command


def taking_away(at: Guardrail) -> Guardrail:
    """The same guardrail for commands that may not wait for the log."""
    return replace(at, audit=LateAudit(at.audit, at.late_notes, at.clock))


async def told_loudly(command: Command, effects: Effects, at: Guardrail) -> Effects:
    """With a fact of its own where the log did not take what was done."""
    if at.audit.is_sound:
        return effects
    at.gauges.audit_late(len(await at.late_notes.all()))
    bypassed = AuditBypassed(
        command=command.subject,
        author=str(getattr(command, "author", "")),
        about=str(getattr(command, "pipeline", None) or getattr(command, "domain", None) or "all"),
        reason=str(getattr(command, "reason", "")),
    )
    return [*effects, ("audit bypassed", bypassed)]


async def take_up_late_notes(at: Guardrail) -> int:
    """How many the log took. One that it has already is only removed. Raises `AuditLogUnsoundError`."""
    notes = await at.late_notes.all()
    for note, kept_at in notes:
        await at.audit.append(taken_up(note, kept_at))
        await at.late_notes.remove(note.key)
    at.gauges.audit_late(0)
    return len(notes)


class LateAudit:
    """An `AuditLog` that keeps what the log does not take."""

    def __init__(self, log: AuditLog, notes: LateNotes, clock: Clock) -> None:
        self._log = log
        self._notes = notes
        self._clock = clock

    async def append(self, note: AuditNote, *, is_first: bool = False) -> AuditEntry:
        try:
            return await self._log.append(note, is_first=is_first)
        except AuditLogUnsoundError:
            return unplaced(await self._notes.keep(note, self._clock.now().isoformat()))

    async def find(self, key: str) -> AuditEntry | None:
        late = await self._notes.find(key)
        return unplaced(late) if late else await self._log.find(key)

    @property
    def is_sound(self) -> bool:
        return self._log.is_sound

    def require_sound(self) -> None:
        self._log.require_sound()

    async def entries(self) -> Sequence[AuditEntry]:
        return await self._log.entries()

    async def check(self, heads: Sequence[TreeHead] = ()) -> tuple[str, ...]:
        return await self._log.check(heads)

    async def head(self) -> TreeHead:
        return await self._log.head()

    async def page(self, after: int, limit: int) -> Sequence[dict[str, Any]]:
        return await self._log.page(after, limit)

    async def matching(self, filters: Mapping[str, Any], limit: int) -> Sequence[dict[str, Any]]:
        return await self._log.matching(filters, limit)

    async def nodes(self, wanted: Sequence[Node]) -> Mapping[Node, bytes]:
        return await self._log.nodes(wanted)

    async def count(self) -> int:
        return await self._log.count()
