"""The audit log's arithmetic: every entry carries the hash of the one before, so that no past entry changes unseen.

Leaf hash: SHA-256 of a zero byte and the entry's canonical JSON (RFC 6962 section 2.1, so that the same entries can be the leaves
of a Merkle tree). Chain hash: SHA-256 of a two byte, the former chain hash and the leaf hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

GENESIS = "0" * 64


class AuditEntry(BaseModel):
    """One decision: who did what to which digest, under which policy, on which evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    """From 1, without gaps."""
    key: str
    """Names the decision; the same decision told twice is one entry."""
    at: str
    action: str
    """`change.approved`, `change.vetoed`, `change.queued`, `review.decided`, `pipeline.deployed`, `pipeline.rolled_back`, ..."""
    actor: str
    subject: str
    digest: str = ""
    policy_revision: str = ""
    evidence_hash: str = ""
    facts: dict[str, Any] = {}
    leaf_hash: str
    chain_hash: str


class AuditNote(BaseModel):
    """An entry before it has a place in the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    at: str
    action: str
    actor: str
    subject: str
    digest: str = ""
    policy_revision: str = ""
    evidence_hash: str = ""
    facts: dict[str, Any] = {}


def chained(note: AuditNote, sequence: int, previous_chain_hash: str) -> AuditEntry:
    content = {"sequence": sequence, **note.model_dump(mode="json")}
    leaf = leaf_hash(content)
    return AuditEntry.model_validate({**content, "leaf_hash": leaf, "chain_hash": chain_hash(previous_chain_hash, leaf)})


def leaf_hash(content: Mapping[str, Any]) -> str:
    """`content`: the entry without its two hashes."""
    return hashlib.sha256(b"\x00" + canonical(content)).hexdigest()


def chain_hash(previous: str, leaf: str) -> str:
    return hashlib.sha256(b"\x02" + bytes.fromhex(previous) + bytes.fromhex(leaf)).hexdigest()


def verify_chain(
    entries: Sequence[AuditEntry], *, expected_length: int | None = None, expected_chain_hash: str = ""
) -> tuple[str, ...]:
    """Everything that does not fit; empty for a sound log. A cut tail shows only against a length or hash noted elsewhere."""
    wrong, previous = [], GENESIS
    for position, entry in enumerate(entries, start=1):
        if entry.sequence != position:
            wrong.append(f"entry {position} says it is number {entry.sequence}: something was dropped, inserted or reordered")
        leaf = leaf_hash(entry.model_dump(mode="json", exclude={"leaf_hash", "chain_hash"}))
        if leaf != entry.leaf_hash or chain_hash(previous, leaf) != entry.chain_hash:
            wrong.append(
                f"entry {position} ({entry.action} {entry.subject}) does not fit its hashes: it was edited, or one before it"
            )
        previous = entry.chain_hash
    if expected_length is not None and len(entries) < expected_length:
        wrong.append(f"{len(entries)} entries where {expected_length} were noted: the tail was cut")
    if expected_chain_hash and expected_chain_hash not in {entry.chain_hash for entry in entries}:
        wrong.append("no entry has the noted chain hash: the log was rewritten")
    return tuple(wrong)


def evidence_hash(evidence: Any) -> str:
    """SHA-256 of what a decision was based on; empty for nothing."""
    return hashlib.sha256(canonical(evidence)).hexdigest() if evidence else ""


def canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
