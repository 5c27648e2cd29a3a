"""The private key, as far as anybody gets to it: something that signs, and checks what it signed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.attestation import Verifier, key_id, load_private_key, public_pem, sign
from shared.audit.checkpoints import Checkpoint, TreeHead, signed
from shared.clock import Clock
from shared.errors import ConfigurationError
from shared.events.values import Attestation


class FileSigner:
    """Signs with the private key file; trusts every key of the public key file, so that former keys stay valid in a rotation."""

    def __init__(self, private_key_file: Path, public_key_file: Path, clock: Clock) -> None:
        """Raises `ConfigurationError` where a file cannot be used, or where nobody who reads the public one would trust us."""
        self._key = load_private_key(private_key_file)
        own = key_id(self._key.public_key())
        if own not in Verifier.from_file(public_key_file).key_ids:
            raise ConfigurationError(
                f"{public_key_file} does not hold the public key {own} of {private_key_file}: executors would refuse every run"
            )
        self._verifier = Verifier(public_key_file.read_bytes() + public_pem(self._key.public_key()))
        self._clock = clock

    @property
    def keys(self) -> Mapping[str, Ed25519PublicKey]:
        """Every public key that is trusted, by key id."""
        return self._verifier.keys

    def sign(self, attestation: Attestation) -> Attestation:
        return sign(self._key, attestation)

    def sign_head(self, head: TreeHead) -> Checkpoint:
        return signed(self._key, head)

    def check(self, attestation: Attestation, *, kind: str, digest: str) -> None:
        self._verifier.verify(attestation, kind=kind, digest=digest, now=self._clock.now())
