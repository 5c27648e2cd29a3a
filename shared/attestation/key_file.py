"""The guardrail's public keys as a process reads them."""

from __future__ import annotations

from pathlib import Path

from shared.attestation.signing import Verifier


class KeyFile:
    """Read again when the file changes: keys are rotated and revoked without a restart. What was verified under the old content
    is verified again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._verifier: Verifier | None = None

    def verifier(self) -> Verifier:
        """Raises `ConfigurationError` where there are no keys."""
        stamp = self._stat()
        if self._verifier is None or stamp != self._stamp:
            self._verifier = Verifier.from_file(self._path)
            self._stamp = stamp
        return self._verifier

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
