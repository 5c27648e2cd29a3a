"""A search on disk: each evaluation and each answer of the caller's proposer is a line of JSON, so that a killed search goes on."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from shared.errors import InvalidInputError, Problem

_FORMAT = "evoline-optimization-1"


class Journal:
    """Remembers by key. Without a file it remembers for this process only."""

    def __init__(self, path: Path | None, fingerprint: str) -> None:
        """Raises `InvalidInputError` where the file belongs to another search or is none of ours."""
        self._path = path or Path()
        self._known: dict[str, Any] = {}
        self._file: IO[bytes] | None = None
        if path is not None:
            self._file = self._opened(path, fingerprint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            with suppress(OSError):  # what could not be written was told
                self._file.close()

    def __contains__(self, key: object) -> bool:
        return key in self._known

    def get(self, key: str) -> Any:
        return self._known[key]

    def keep(self, key: str, value: Any) -> None:
        """On its way to the disk when this returns: whoever kills the process later loses nothing of it."""
        self._known[key] = value
        if self._file is not None:
            self._write(self._file, json.dumps([key, value]).encode() + b"\n")

    def _write(self, file: IO[bytes], line: bytes) -> None:
        try:
            file.write(line)
            file.flush()
        except OSError as error:
            reason = f"cannot be written: {error.strerror}; what it holds is whole but for its last line"
            raise _refused(
                self._path, reason, "make room, and call again with the same arguments: nothing is paid twice"
            ) from error

    def _opened(self, path: Path, fingerprint: str) -> IO[bytes]:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise _refused(path, "is no file that could keep anything", "name another file")
        try:
            file = path.open("a+b")
        except OSError as error:
            raise _refused(path, f"cannot be opened: {error.strerror}", "name a file in a folder that exists") from error
        try:
            self._continued(path, file, {"format": _FORMAT, "fingerprint": fingerprint})
        except BaseException:
            file.close()
            raise
        return file

    def _continued(self, path: Path, file: IO[bytes], head: dict[str, str]) -> None:
        _lock(path, file)
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        lines, first = whole.splitlines(), json.dumps(head).encode() + b"\n"
        if lines:
            self._read(path, lines, head)
        elif not first.startswith(content):
            # Somebody's file without a line's end: cut as if by a kill, all of it would be gone.
            raise _refused(path, "is no journal of an optimisation", "name another file")
        file.truncate(len(whole))  # a line that was cut by a kill is written again
        file.seek(0, os.SEEK_END)
        if not lines:
            self._write(file, first)

    def _read(self, path: Path, lines: list[bytes], head: dict[str, str]) -> None:
        try:
            found = json.loads(lines[0])
            self._known = dict(json.loads(line) for line in lines[1:])
        except (ValueError, TypeError, RecursionError) as error:
            raise _refused(path, f"is no journal of an optimisation ({error})", "name another file") from error
        if not isinstance(found, dict) or found.get("format") != head["format"]:
            raise _refused(path, "is no journal of an optimisation", "name another file")
        if found != head:
            raise _refused(
                path,
                "belongs to another seed, data, budget or seed number, or to other choices",
                "go on with the same arguments, or name another file",
            )


def _lock(path: Path, file: IO[bytes]) -> None:
    """Until the file is closed or the process ends, however it ends: two that write would pay twice."""
    try:
        import fcntl
    except ImportError:
        return  # no such locks on this system
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise _refused(path, "is in use: the same search runs already", "wait for it, or name another file") from error


def _refused(path: Path, reason: str, suggestion: str) -> InvalidInputError:
    return InvalidInputError(Problem(path="journal", reason=f"{path} {reason}", suggestion=suggestion))
