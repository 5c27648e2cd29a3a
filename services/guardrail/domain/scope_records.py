"""What the guardrail keeps of a trial scope."""

from __future__ import annotations

from datetime import datetime

from services.guardrail.domain.descent import Record
from shared.events.changes import GrantScope
from shared.events.values import GrantedScope


class ScopeRecord(Record):
    """Executors read `closed_at`. One that was withdrawn before it was handed out never gets a scope."""

    scope_id: str
    wish: GrantScope | None = None
    granted: GrantedScope | None = None
    day: str = ""
    """On which its budget is reserved; empty where it has none."""
    closed_at: datetime | None = None
    closed_by: str = ""

    @property
    def expires_at(self) -> datetime | None:
        return datetime.fromisoformat(self.granted.scope.expires_at) if self.granted else None
