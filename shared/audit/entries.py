"""What an entry's hash covers. Entries are handled as the maps that were stored, so that a field which a later version adds to
new entries does not change what old ones hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shared.audit.merkle import leaf_hash

GENESIS = "0" * 64
BESIDE_THE_CONTENT = frozenset(("_id", "leaf_hash", "chain_hash", "nodes"))
"""Fields that are derived from the content, or that the store needs."""


def canonical(content: Any) -> bytes:
    """JSON with sorted keys, without spaces, in UTF-8."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def leaf_of(entry: Mapping[str, Any]) -> bytes:
    """RFC 6962 leaf hash of the entry's content."""
    return leaf_hash(canonical({name: value for name, value in entry.items() if name not in BESIDE_THE_CONTENT}))


def chain_hash(previous: str, leaf: str) -> str:
    """Entries of before the Merkle log carry this one: SHA-256 of a two byte, the former chain hash and the leaf hash."""
    return hashlib.sha256(b"\x02" + bytes.fromhex(previous) + bytes.fromhex(leaf)).hexdigest()


def evidence_hash(evidence: Any) -> str:
    """SHA-256 of what a decision was based on; empty for nothing."""
    return hashlib.sha256(canonical(evidence)).hexdigest() if evidence else ""


def spoken(entry: Mapping[str, Any]) -> str:
    """An entry in a few words, whatever somebody wrote into it."""
    action, subject, actor = (str(entry.get(name, "?"))[:80] for name in ("action", "subject", "actor"))
    return f"{action} {subject} by {actor}".encode("utf-8", "backslashreplace").decode()
