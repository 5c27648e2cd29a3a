"""The guardrail's signature under what may run: Ed25519 over a canonical form, checked by whoever runs something.

Signed bytes: `evoline.attestation.v1`, a line feed, and the attestation as JSON without `signature` (keys sorted, no spaces,
UTF-8). The prefix keeps a signature from meaning anything elsewhere. Keys are PEM files; a file of public keys may hold several,
so that a new key is trusted before the first signature under it exists and an old one until its last attestation expired. A line
`revoked: <key id> ...` beside them takes the trust from a key for good, also where its PEM block is still or again in the file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from shared.errors import ConfigurationError, NotAttestedError
from shared.events.values import Attestation, TrialScope

PRIVATE_KEY_NAME = "guardrail.key"
PUBLIC_KEY_NAME = "guardrail.pub"
ALLOWED_CLOCK_LEAD = timedelta(minutes=2)
"""How far the signer's clock may run ahead of the verifier's; an expiry gets no allowance at all."""

_PREFIX = b"evoline.attestation.v1\n"
_REVOKED = re.compile(rb"^revoked:[ \t]*(\S*)[^\n]*$", re.MULTILINE | re.IGNORECASE)
_KEY_ID = re.compile(r"[0-9a-f]{16}")
_PEM_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


@dataclass(frozen=True)
class KeyPaths:
    private: Path
    public: Path


def signed_bytes(attestation: Attestation) -> bytes:
    """What the signature covers: every field but `signature`."""
    return _PREFIX + _canonical(attestation.model_dump(mode="json", exclude={"signature"}))


def scope_digest(scope: TrialScope) -> str:
    """SHA-256 (hex) of the scope's canonical JSON: the `digest` of its attestation."""
    return hashlib.sha256(_canonical(scope.model_dump(mode="json"))).hexdigest()


def key_id(public_key: Ed25519PublicKey) -> str:
    """First 16 hex digits of SHA-256 of the raw public key."""
    return hashlib.sha256(public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def sign(private_key: Ed25519PrivateKey, attestation: Attestation) -> Attestation:
    """The same attestation under this key: `key_id` and `signature` are set here, whatever they were."""
    named = attestation.model_copy(update={"key_id": key_id(private_key.public_key()), "signature": ""})
    signature = base64.b64encode(private_key.sign(signed_bytes(named))).decode()
    return named.model_copy(update={"signature": signature})


REMEMBERED = 4096
"""Signatures that one verifier need not compute again."""


class Verifier:
    """Trusts the public keys that it is given and nothing inside an attestation."""

    def __init__(self, public_keys_pem: bytes) -> None:
        """Raises `ConfigurationError` where the bytes hold no Ed25519 public key, or anything else as a key."""
        self.revoked = revoked_keys(public_keys_pem)
        keys = {key_id(key): key for key in _public_keys(public_keys_pem)}
        self._keys: Mapping[str, Ed25519PublicKey] = {name: key for name, key in keys.items() if name not in self.revoked}
        self._genuine: set[Attestation] = set()

    @classmethod
    def from_file(cls, path: Path) -> Verifier:
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"cannot read the guardrail's public keys from {path}: {error.strerror}") from error

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Those that are trusted: revoked ones are not among them."""
        return tuple(sorted(self._keys))

    @property
    def keys(self) -> Mapping[str, Ed25519PublicKey]:
        """By key id."""
        return self._keys

    def verify(self, attestation: Attestation, *, kind: str, digest: str, now: datetime, scope: str | None = None) -> None:
        """Raises `NotAttestedError` unless a trusted key signed exactly this kind and digest and `now` lies in its validity.

        `scope`, where given, is what the attestation must be for: the pipeline's name, or a scope's purpose."""
        self._check_signature(attestation)
        _check_same("kind", attestation.kind, kind)
        _check_same("digest", attestation.digest, digest)
        if scope is not None:
            _check_same("scope", attestation.scope, scope)
        _check_validity(attestation, now)

    def _check_signature(self, attestation: Attestation) -> None:
        """That these very bytes carry this very signature does not change: it is computed once. Validity is judged every time."""
        if attestation in self._genuine:
            return
        self._verify_signature(attestation)
        if len(self._genuine) >= REMEMBERED:
            self._genuine.clear()
        self._genuine.add(attestation)

    def _verify_signature(self, attestation: Attestation) -> None:
        if not attestation.signature:
            raise NotAttestedError("the attestation is not signed")
        key = self._keys.get(attestation.key_id)
        if attestation.key_id in self.revoked:
            raise NotAttestedError(
                f"the attestation is signed with key {attestation.key_id}, which was revoked; the guardrail signs again what is "
                "still approved (evoline keys list), everything else is to be proposed again"
            )
        if key is None:
            raise NotAttestedError(f"the attestation is signed with key {attestation.key_id!r}, which is not trusted here")
        try:
            key.verify(base64.b64decode(attestation.signature, validate=True), signed_bytes(attestation))
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise NotAttestedError("the attestation's signature does not fit its content") from error


def revoked_keys(public_keys: bytes) -> frozenset[str]:
    """Ids that a file of public keys revokes. Raises `ConfigurationError` for a revocation that names no key."""
    found = {match.decode(errors="replace").lower() for match in _REVOKED.findall(public_keys)}
    if wrong := sorted(each for each in found if not _KEY_ID.fullmatch(each)):
        raise ConfigurationError(f"a line of the public key file revokes {wrong[0]!r}, which is no key id (16 hex digits)")
    return frozenset(found)


def verify_scope(verifier: Verifier, scope: TrialScope, attestation: Attestation, *, now: datetime) -> None:
    """Raises `NotAttestedError` unless the guardrail signed this scope, unchanged, for its purpose, and it has not run out."""
    verifier.verify(attestation, kind="scope", digest=scope_digest(scope), now=now, scope=scope.purpose)
    if _moment(scope.expires_at) <= now:
        raise NotAttestedError(f"the trial scope {scope.scope_id} ended at {scope.expires_at}")


def create_key_pair(directory: Path) -> KeyPaths:
    """Makes `guardrail.key` (mode 600) and `guardrail.pub` in `directory`; keys that are there are kept.

    A missing public file is written again from the private one."""
    paths = KeyPaths(private=directory / PRIVATE_KEY_NAME, public=directory / PUBLIC_KEY_NAME)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not paths.private.exists():
        _create_private(paths.private)
    if not paths.public.exists():
        _write_whole(paths.public, public_pem(load_private_key(paths.private).public_key()), mode=0o644)
    return paths


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Raises `ConfigurationError` where the file is missing, readable by others, or no Ed25519 key."""
    try:
        mode = path.stat().st_mode
        pem = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read the private key {path}: {error.strerror}; create keys first") from error
    if mode & 0o077:
        raise ConfigurationError(
            f"the private key {path} is open to others (mode {mode & 0o777:o}); chmod 600 it, or better: rotate it"
        )
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{path} holds no usable private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} holds a key of another kind than Ed25519")
    return key


def public_pem(public_key: Ed25519PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _public_keys(pem: bytes) -> tuple[Ed25519PublicKey, ...]:
    keys = []
    for block in _PEM_BLOCK.findall(pem):
        try:
            key = load_pem_public_key(block)
        except ValueError as error:
            raise ConfigurationError(f"a public key cannot be read: {error}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigurationError("a public key is of another kind than Ed25519")
        keys.append(key)
    if not keys:
        raise ConfigurationError("there is no public key of the guardrail; create keys first")
    return tuple(keys)


def _check_same(name: str, attested: str, wanted: str) -> None:
    if attested != wanted:
        raise NotAttestedError(f"the attestation's {name} is {attested!r}, not {wanted!r}")


def _check_validity(attestation: Attestation, now: datetime) -> None:
    if _moment(attestation.issued_at) > now + ALLOWED_CLOCK_LEAD:
        raise NotAttestedError(f"the attestation is from the future ({attestation.issued_at}); check the clocks")
    if _moment(attestation.expires_at) <= now:
        raise NotAttestedError(f"the attestation expired at {attestation.expires_at}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise NotAttestedError(f"{text!r} is no RFC 3339 time") from error
    if moment.tzinfo is None:
        raise NotAttestedError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def _create_private(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_whole(path, pem, mode=0o600)


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    """Appears complete or not at all, and never replaces a file that another process made meanwhile."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
