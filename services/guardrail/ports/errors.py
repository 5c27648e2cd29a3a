"""What ports raise."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import PermanentError, UnavailableError


class LostRaceError(UnavailableError):
    """Another writer was faster. Nothing was written: read again and decide again."""


class AuditLogUnsoundError(UnavailableError):
    """The log is not what it was, so nothing more is decided but what only takes away: other commands wait, what serves goes on."""

    code = "audit_log_unsound"

    def __init__(self, faults: Sequence[str]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(
            f"the audit log is not what it was: {faults[0]}{more}. Nothing is decided until it is mended (freeze, "
            "rollback and quarantine work all the same): run "
            "`evoline audit verify`, restore the guardrail's database from a backup and restart the guardrail; "
            "docs/policy.md says how to go on without one"
        )


class ReservationError(PermanentError):
    """Its id is that of another reservation, or of one that was settled."""

    code = "reservation"
