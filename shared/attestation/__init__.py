"""The guardrail's signature under what may run, the keys behind it, and how they are changed."""

from __future__ import annotations

from shared.attestation.approvals import Approvals
from shared.attestation.grants import Grants
from shared.attestation.key_file import KeyFile
from shared.attestation.ring import RETIRED_KEYS_NAME, Author, KeyRing, RingState
from shared.attestation.signing import (
    ALLOWED_CLOCK_LEAD,
    PRIVATE_KEY_NAME,
    PUBLIC_KEY_NAME,
    KeyPaths,
    Verifier,
    create_key_pair,
    key_id,
    load_private_key,
    public_pem,
    scope_digest,
    sign,
    signed_bytes,
    verify_scope,
)

__all__ = [
    "ALLOWED_CLOCK_LEAD",
    "PRIVATE_KEY_NAME",
    "PUBLIC_KEY_NAME",
    "RETIRED_KEYS_NAME",
    "Approvals",
    "Author",
    "Grants",
    "KeyFile",
    "KeyPaths",
    "KeyRing",
    "RingState",
    "Verifier",
    "create_key_pair",
    "key_id",
    "load_private_key",
    "public_pem",
    "scope_digest",
    "sign",
    "signed_bytes",
    "verify_scope",
]
