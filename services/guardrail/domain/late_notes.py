"""What was done while the audit log took nothing, for the log to take up once it is sound."""

from __future__ import annotations

from typing import Any

from services.guardrail.domain.audit import AuditEntry, AuditNote


def taken_up(note: AuditNote, kept_at: str) -> AuditNote:
    """Says in the log that it stands there later than it was done."""
    facts: dict[str, Any] = {**note.facts, "done_while_unsound": True, "kept_at": kept_at}
    return note.model_copy(update={"facts": facts})


def unplaced(note: AuditNote) -> AuditEntry:
    """What whoever appends gets instead of an entry: it has no place yet."""
    return AuditEntry(**note.model_dump(), sequence=0, leaf_hash="")
