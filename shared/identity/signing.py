"""A sender's signature under one message: Ed25519 over subject, id, signer, time and the body's SHA-256.

Signed bytes: `evoline.message.v1`, a line feed, and `{"body_sha256", "message_id", "signed_at", "signer", "subject"}` as JSON (keys
sorted, no spaces, UTF-8). The prefix keeps a signature from meaning anything elsewhere; the subject and the id keep it from
moving to another message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict

from shared.attestation import key_id
from shared.identity.registry import Identity, Registry

SIGNER = "Evoline-Signer"
SIGNATURE = "Evoline-Signature"
SIGNED_AT = "Evoline-Signed-At"
FRESH = timedelta(minutes=10)
"""A message is stored at most so long after it was signed. It may wait in its queue for days: that does not count."""
CLOCK_LEAD = timedelta(minutes=2)
"""How far the signer's clock may run ahead of the broker's."""

_PREFIX = b"evoline.message.v1\n"


class Proof(BaseModel):
    """What anyone needs, beside the signer's public key, to verify later who sent a message."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    subject: str
    message_id: str
    signer: str
    key_id: str = ""
    signed_at: str
    body_sha256: str
    signature: str
    """Base64."""


@dataclass(frozen=True)
class Signature:
    """What is known of a message's sender. Without an identity `fault` says why: nobody signed, or not as it should be."""

    identity: Identity | None = None
    proof: Proof | None = None
    fault: str = "it is not signed"

    @property
    def signer(self) -> str:
        """The verified name, as the registry writes it; empty where there is none."""
        return self.identity.name if self.identity else ""


UNSIGNED = Signature()


@dataclass(frozen=True)
class MessageSigner:
    """One identity's private key."""

    name: str
    key: Ed25519PrivateKey

    def sign(self, subject: str, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
        """The headers to add."""
        proof = Proof(
            subject=subject,
            message_id=message_id,
            signer=self.name,
            key_id=key_id(self.key.public_key()),
            signed_at=now.astimezone(UTC).isoformat(),
            body_sha256=hashlib.sha256(body).hexdigest(),
            signature="",
        )
        signature = base64.b64encode(self.key.sign(signed_bytes(proof))).decode()
        return {SIGNER: self.name, SIGNED_AT: proof.signed_at, SIGNATURE: signature}


def signed_bytes(proof: Proof) -> bytes:
    value = proof.model_dump(include={"subject", "message_id", "signer", "signed_at", "body_sha256"})
    return _PREFIX + json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def verify_proof(key: Ed25519PublicKey, proof: Proof) -> bool:
    """Whether this key signed exactly this message."""
    try:
        key.verify(base64.b64decode(proof.signature, validate=True), signed_bytes(proof))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def check_signature(  # noqa: PLR0913  one message has these parts, each by its name
    headers: Mapping[str, str],
    *,
    subject: str,
    message_id: str,
    body: bytes,
    stored_at: datetime,
    registry: Registry,
    fresh: timedelta = FRESH,
) -> Signature:
    """Never raises: a signature that does not hold is one that is not there, with the reason. `stored_at`: the broker's time."""
    if SIGNATURE not in headers and SIGNER not in headers:
        return UNSIGNED
    proof = Proof(
        subject=subject,
        message_id=message_id,
        signer=headers.get(SIGNER, ""),
        signed_at=headers.get(SIGNED_AT, ""),
        body_sha256=hashlib.sha256(body).hexdigest(),
        signature=headers.get(SIGNATURE, ""),
    )
    identity = registry.find(proof.signer)
    if identity is None:
        return Signature(fault=f"it names {proof.signer[:64]!r} as its signer, whom identities.yaml does not know")
    if fault := _fault(proof, identity, stored_at, fresh):
        return Signature(fault=fault)
    return Signature(identity, proof.model_copy(update={"key_id": identity.key_id}), "")


def _fault(proof: Proof, identity: Identity, stored_at: datetime, fresh: timedelta) -> str:
    if identity.revoked:
        return f"the identity {identity.name} was revoked at {identity.revoked}"
    if not verify_proof(identity.key, proof):
        return f"the signature is not one by {identity.name} under this subject, id, time and body"
    try:
        signed_at = datetime.fromisoformat(proof.signed_at)
    except ValueError:
        return f"{proof.signed_at[:64]!r} in {SIGNED_AT} is no RFC 3339 time"
    if signed_at.tzinfo is None:
        return f"{proof.signed_at!r} in {SIGNED_AT} has no time zone"
    if stored_at - signed_at > fresh:
        return f"it was signed at {proof.signed_at}, more than {fresh.seconds // 60} minutes before it was sent: send it again"
    if signed_at - stored_at > CLOCK_LEAD:
        return f"it was signed at {proof.signed_at}, which is in the future of the broker's clock: check the clocks"
    return ""
