"""The private key, as far as anybody gets to it: something that signs, and checks what was signed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.guardrail.domain.keys import Keys
from shared.attestation import KeyFile, Verifier, key_id, load_private_key, sign
from shared.audit.checkpoints import Checkpoint, TreeHead, signed
from shared.clock import Clock
from shared.errors import ConfigurationError, UnavailableError
from shared.events.values import Attestation


class FileSigner:
    """Signs with the private key file; trusts every key of the public one that is not revoked. Both are read again when they
    change, so that keys are rotated and revoked without a restart, in all processes."""

    def __init__(self, private_key_file: Path, public_key_file: Path, clock: Clock) -> None:
        """Raises `ConfigurationError` where a file cannot be used, or where nobody who reads the public one would trust us."""
        self._private_file = private_key_file
        self._public_file = public_key_file
        self._public = KeyFile(public_key_file)
        self._clock = clock
        self._stamp = (0, 0)
        self._private, self._own = self._read()
        if self._own not in self._public.verifier().key_ids:
            raise self._untrusted()

    @property
    def keys(self) -> Mapping[str, Ed25519PublicKey]:
        """Every public key that is trusted, by key id."""
        return self._verifier().keys

    def sign(self, attestation: Attestation) -> Attestation:
        """Raises `UnavailableError` while the key cannot be read, or nobody would trust it: nothing is approved then."""
        return sign(self._signing(), attestation)

    def sign_head(self, head: TreeHead) -> Checkpoint:
        """Raises as `sign`."""
        return signed(self._signing(), head)

    def check(self, attestation: Attestation, *, kind: str, digest: str) -> None:
        self._verifier().verify(attestation, kind=kind, digest=digest, now=self._clock.now())

    def ring(self) -> Keys:
        """Raises `UnavailableError` where the files cannot be read at this moment."""
        try:
            self._private, self._own = self._read()
        except ConfigurationError as error:
            raise UnavailableError(str(error)) from error
        verifier = self._verifier()
        return Keys(self._own, verifier.key_ids, tuple(sorted(verifier.revoked)))

    def _signing(self) -> Ed25519PrivateKey:
        try:
            self._private, self._own = self._read()
            if self._own not in self._verifier().key_ids:
                raise self._untrusted()
        except ConfigurationError as error:
            raise UnavailableError(str(error)) from error
        return self._private

    def _verifier(self) -> Verifier:
        try:
            return self._public.verifier()
        except ConfigurationError as error:
            raise UnavailableError(str(error)) from error

    def _read(self) -> tuple[Ed25519PrivateKey, str]:
        try:
            status = self._private_file.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
        except OSError:
            stamp = (0, 0)
        if stamp == self._stamp and stamp != (0, 0):
            return self._private, self._own
        key = load_private_key(self._private_file)
        self._stamp = stamp
        return key, key_id(key.public_key())

    def _untrusted(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self._public_file} does not hold the public key {self._own} of {self._private_file}, or revokes it: "
            "executors would refuse every run; evoline keys list"
        )
