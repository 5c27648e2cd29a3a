"""Entries of the audit log: who did what to which digest, under which policy, on which evidence. `shared.audit` says how they
are hashed, so that everybody can check them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.audit.entries import evidence_hash, leaf_of

__all__ = ["AuditEntry", "AuditNote", "evidence_hash", "placed"]


class AuditNote(BaseModel):
    """An entry before it has a place in the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    """Names the decision; the same decision told twice is one entry."""
    at: str
    action: str
    """`change.approved`, `change.vetoed`, `change.queued`, `pipeline.deployed`, `pipeline.rolled_back`, `scope.granted`, ..."""
    actor: str
    subject: str
    digest: str = ""
    policy_revision: str = ""
    evidence_hash: str = ""
    facts: dict[str, Any] = {}


class AuditEntry(AuditNote):
    """One decision in its place. Fields that a newer version wrote are kept in the store and not seen here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sequence: int
    """From 1, without gaps."""
    leaf_hash: str
    chain_hash: str = ""
    """Only in entries of before the Merkle log."""


def placed(note: AuditNote, sequence: int) -> dict[str, Any]:
    """The entry as it is stored, without the tree's nodes that it completes."""
    content = {"sequence": sequence, **note.model_dump(mode="json")}
    return {**content, "leaf_hash": leaf_of(content).hex()}
