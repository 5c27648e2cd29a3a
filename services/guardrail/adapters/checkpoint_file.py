"""Signed checkpoints in a file of lines outside the store: whoever changes the store does not change them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.audit.checkpoints import Checkpoint, opened
from shared.errors import ConfigurationError, EvolineError, UnavailableError

_MOST = 1000
"""Of the newest checkpoints that are read and remembered: the last one covers all that those before it cover."""


class CheckpointFile:
    """One JSON object a line; `note` is what counts, the rest is for people. Lines are only ever added."""

    def __init__(self, path: Path, keys: Mapping[str, Ed25519PublicKey]) -> None:
        """Raises `ConfigurationError` where the file cannot be used, or none of `keys` signed its last line.

        Earlier lines under keys that are not trusted any more are passed over: the last one covers what they covered."""
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("ab+") as file:
                _mend(file, path)
                file.seek(0)
                lines = file.read().split(b"\n")
        except OSError as error:
            raise ConfigurationError(f"the file of checkpoints {path} cannot be used: {error}") from error
        recent = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()][-_MOST:]
        self._known: list[Checkpoint] = []
        for number, line in recent:
            try:
                self._known.append(_read(path, number, line, keys))
            except ConfigurationError:
                if (number, line) == recent[-1]:
                    raise

    def latest(self) -> Checkpoint | None:
        return max(self._known, key=lambda each: each.head.size) if self._known else None

    def all(self) -> Sequence[Checkpoint]:
        return tuple(self._known)

    def add(self, checkpoint: Checkpoint) -> None:
        head = checkpoint.head
        line = {"size": head.size, "root": head.root, "at": head.at, "key_id": checkpoint.key_id, "note": checkpoint.note}
        try:
            with self._path.open("ab+") as file:
                _mend(file, self._path)
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UnavailableError(f"the checkpoint over {head.size} entries cannot be written to {self._path}: {error}") from error
        self._known = [*self._known, checkpoint][-_MOST:]


def _mend(file: BinaryIO, path: Path) -> None:
    """What comes next begins a line of its own. A process that died while it wrote, or a full disk, leaves half a line: it was
    never a checkpoint, so it is taken away. A whole one that only lacks its end is kept. The lock is held until the file is
    closed: nobody takes half of what another process writes for such a rest."""
    fcntl.flock(file, fcntl.LOCK_EX)
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) in (b"", b"\n"):
        return
    file.seek(0)
    rest = file.read().rpartition(b"\n")[2]
    if _is_whole(rest):
        file.write(b"\n")
        return
    file.truncate(end - len(rest))
    log = structlog.get_logger("services.guardrail")
    log.warning("half a checkpoint was taken away: it was never acknowledged", file=str(path), bytes=len(rest))


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _read(path: Path, number: int, line: bytes, keys: Mapping[str, Ed25519PublicKey]) -> Checkpoint:
    try:
        return opened(str(json.loads(line)["note"]), keys)
    except (ValueError, KeyError, TypeError, EvolineError) as error:
        raise ConfigurationError(
            f"{path}, line {number}: {error}. A checkpoint that cannot be trusted proves nothing: put the key that signed it "
            "back into the file of public keys, or restore the file from where it is kept; docs/policy.md says more"
        ) from error
