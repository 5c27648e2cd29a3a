"""Changing the guardrail's keys without a moment in which a signature is not trusted, or a stolen key is.

Everything stands in the files, so that a crash at any point is gone on from: `guardrail.key` signs, `guardrail.next.key` is
prepared, the public file holds the keys that are trusted and one line for each that is revoked. Files are replaced whole, under
a lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_public_key

from shared.attestation.signing import (
    PRIVATE_KEY_NAME,
    PUBLIC_KEY_NAME,
    key_id,
    load_private_key,
    public_pem,
    revoked_keys,
)
from shared.errors import ConfigurationError, InvalidInputError, NotFoundError, Problem

NEXT_KEY_NAME = "guardrail.next.key"
RETIRED_KEYS_NAME = "guardrail.retired.pub"
"""Beside the public file: keys that nothing is trusted under any more but the checkpoints of the audit log that they signed."""
LOCK_NAME = ".guardrail.lock"
_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----\n?", re.DOTALL)


@dataclass(frozen=True)
class Author:
    """Who changes the keys, and when."""

    name: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.at.isoformat(timespec='seconds')} by {_one_line(self.name)}"


@dataclass(frozen=True)
class RingState:
    signing: str
    prepared: str
    """Empty where no rotation is under way."""
    trusted: tuple[str, ...]
    revoked: tuple[str, ...]

    @property
    def former(self) -> tuple[str, ...]:
        """Trusted, but no longer used to sign."""
        return tuple(each for each in self.trusted if each not in (self.signing, self.prepared))


class KeyRing:
    """The key files of one guardrail. Every verb may be repeated: done twice is done once."""

    def __init__(self, directory: Path, public_file: Path | None = None) -> None:
        """`public_file`: what executors read, where that is not `guardrail.pub` beside the private key."""
        self._directory = directory
        self.private_file = directory / PRIVATE_KEY_NAME
        self.next_file = directory / NEXT_KEY_NAME
        self.public_file = public_file or directory / PUBLIC_KEY_NAME
        self.retired_file = self.public_file.with_name(RETIRED_KEYS_NAME)

    def state(self) -> RingState:
        """Raises `ConfigurationError` where a file cannot be used, `NotFoundError` where there are no keys at all."""
        if not self.public_file.is_file():
            raise NotFoundError(f"there are no keys in {self._directory}; make them with: evoline keys create")
        content = self.public_file.read_bytes()
        revoked = revoked_keys(content)
        trusted = [each for each in _blocks(content) if each not in revoked]
        return RingState(
            signing=_id_of(self.private_file) if self.private_file.exists() else "",
            prepared=_id_of(self.next_file) if self.next_file.exists() else "",
            trusted=tuple(trusted),
            revoked=tuple(sorted(revoked)),
        )

    def prepare(self, author: Author) -> str:
        """Makes the next key, if there is none yet, and has it trusted. Returns its id. Raises `ConfigurationError` where a file is
        missing or cannot be used."""
        with self._locked():
            load_private_key(self.private_file)
            if not self.next_file.exists():
                _replace(self.next_file, _private_pem(Ed25519PrivateKey.generate()), 0o600)
            return self._trust(self.next_file, author)

    def activate(self, author: Author) -> str:
        """Signs with the prepared key from now on; the former one stays trusted and is gone. Without one nothing changes."""
        with self._locked():
            if self.next_file.exists():
                self._trust(self.next_file, author)
                self.next_file.replace(self.private_file)
                _sync(self._directory)
            return _id_of(self.private_file)

    def retire(self, keys: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Takes the trust from former keys; attestations under them are worth nothing any more. Returns which.

        The public halves are kept for checkpoints: else a verification could not tell a former key from a forger's."""
        with self._locked():
            state = self.state()
            gone = tuple(each for each in state.former if keys is None or each in keys)
            if gone:
                content = self.public_file.read_bytes()
                blocks = {name: block for name, block in _blocks(content).items() if name in gone}
                self._keep(blocks)
                for block in blocks.values():
                    content = content.replace(block, b"")
                _replace(self.public_file, content, 0o644)
            return gone

    def _keep(self, blocks: dict[str, bytes]) -> None:
        kept = {**self._retired(), **blocks}
        _replace(self.retired_file, b"".join(block.rstrip(b"\n") + b"\n" for block in kept.values()), 0o644)

    def revoke(self, key: str, reason: str, author: Author) -> None:
        """Takes the trust from a key for good. Raises `InvalidInputError` for the one that signs: rotate first."""
        with self._locked():
            state = self.state()
            if key in state.revoked:
                return
            if key == state.signing:
                raise InvalidInputError(Problem(path="KEY", reason=f"{key} signs at present", suggestion="rotate first"))
            if key not in state.trusted and key not in self._retired():
                known = ", ".join(state.trusted)
                raise InvalidInputError(Problem(path="KEY", reason=f"no key {key!r} is trusted here", suggestion=f"one of {known}"))
            line = f"revoked: {key} {author}: {_one_line(reason)}\n".encode()
            content = self.public_file.read_bytes()
            _replace(self.public_file, content.rstrip(b"\n") + b"\n" + line, 0o644)
            if key == state.prepared:
                self.next_file.unlink()

    def _retired(self) -> dict[str, bytes]:
        return _blocks(self.retired_file.read_bytes()) if self.retired_file.exists() else {}

    def _trust(self, private_file: Path, author: Author) -> str:
        public = load_private_key(private_file).public_key()
        name, content = key_id(public), self._public_keys()
        if name in revoked_keys(content):
            raise ConfigurationError(f"key {name} in {private_file} was revoked: delete the file and rotate again")
        if name not in _blocks(content):
            line = f"added: {name} {author}\n".encode()
            _replace(self.public_file, content.rstrip(b"\n") + b"\n" + line + public_pem(public), 0o644)
        return name

    def _public_keys(self) -> bytes:
        try:
            return self.public_file.read_bytes()
        except OSError as error:
            missing = f"the file of public keys {self.public_file} cannot be read: {error.strerror}"
            raise ConfigurationError(f"{missing}; restore it, or make keys with: evoline keys create") from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            file = (self._directory / LOCK_NAME).open("w")
        except OSError as error:
            unusable = f"the folder of keys {self._directory} cannot be used: {error.strerror}"
            raise ConfigurationError(f"{unusable}; name another one, or make keys with: evoline keys create") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _blocks(content: bytes) -> dict[str, bytes]:
    """Key id -> its PEM block as it stands in the file."""
    found = {}
    for block in _BLOCK.findall(content):
        try:
            found[key_id(load_pem_public_key(block))] = block  # type: ignore[arg-type]  # another kind fails at `Verifier`
        except ValueError as error:
            raise ConfigurationError(f"a public key cannot be read: {error}") from error
    return found


def _id_of(private_file: Path) -> str:
    return key_id(load_private_key(private_file).public_key())


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def _replace(path: Path, content: bytes, mode: int) -> None:
    """The old content or the new one, whenever somebody looks or the machine stops."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
