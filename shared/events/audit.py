"""The audit log: its signed checkpoints, and what lets everybody check it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from shared.events.message import Fact, Query

MOST_ENTRIES = 500


class AuditCheckpointed(Fact):
    """The log grew, and this is what it held: kept here for 30 days, outside the store that holds the log.

    `note` is the signed note (C2SP tlog-checkpoint) that the other fields are read from."""

    subject: ClassVar[str] = "evt.audit.checkpointed"
    owner: ClassVar[str] = "guardrail"

    size: int
    root: str
    at: str
    key_id: str
    note: str


class AuditBypassed(Fact):
    """A freeze, rollback or quarantine was done while the audit log was not sound: it is kept apart until the log can take it."""

    subject: ClassVar[str] = "evt.audit.bypassed"
    owner: ClassVar[str] = "guardrail"

    command: str
    """Its subject."""
    author: str
    about: str
    """The pipeline or the domain, or `all`."""
    reason: str = ""


class GetAuditCheckpoint(Query):
    """Answer: `{checkpoint: {size, root, at, key_id, note} or null, stored, sound, faults}`.

    The checkpoint covers the whole log of this moment where the log is sound; `stored` counts the documents in its collection."""

    subject: ClassVar[str] = "api.guardrail.get_audit_checkpoint"
    owner: ClassVar[str] = "guardrail"


class ReadAuditLog(Query):
    """The log in its order, as it is stored.

    Answer: `{entries: [...]}`: those after number `after`, fewer than asked where they are large, none at the end."""

    subject: ClassVar[str] = "api.guardrail.read_audit_log"
    owner: ClassVar[str] = "guardrail"

    after: int = Field(default=0, ge=0, le=10**11)
    limit: int = Field(default=MOST_ENTRIES, ge=1, le=MOST_ENTRIES)


class FindAuditEntries(Query):
    """Answer: `{entries: [...]}`, newest first; those that fit everything given.

    `about` is a pipeline, a data set, or the id of a change, scope, rollback or measurement."""

    subject: ClassVar[str] = "api.guardrail.find_audit_entries"
    owner: ClassVar[str] = "guardrail"

    about: str = Field(default="", max_length=200)
    action: str = Field(default="", max_length=100)
    actor: str = Field(default="", max_length=200)
    since: str = Field(default="", max_length=64)
    """RFC 3339 in UTC, or its beginning as `2026-11-26`."""
    limit: int = Field(default=100, ge=1, le=MOST_ENTRIES)


class GetAuditProof(Query):
    """Asks for an entry by its number or its key.

    Answer: `{entry, size, path}`: that the entry is one of the first `size`; `path` is RFC 6962's inclusion proof in hex."""

    subject: ClassVar[str] = "api.guardrail.get_audit_proof"
    owner: ClassVar[str] = "guardrail"

    sequence: int = Field(default=0, ge=0, le=10**11)
    key: str = Field(default="", max_length=400)
    size: int = Field(ge=1, le=10**11)


class GetAuditConsistency(Query):
    """Answer: `{first, second, path}`: that the first `first` of `second` entries are those that they were; RFC 6962, hex."""

    subject: ClassVar[str] = "api.guardrail.get_audit_consistency"
    owner: ClassVar[str] = "guardrail"

    first: int = Field(ge=0, le=10**11)
    second: int = Field(ge=0, le=10**11)
