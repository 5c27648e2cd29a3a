"""One log file a process, rotated by size when the process starts; tails for people and errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

ROTATE_BYTES = 10_000_000
KEPT_FILES = 3
_TAIL_BLOCK = 65_536


def open_log(path: Path, rotate_bytes: int = ROTATE_BYTES) -> BinaryIO:
    """For appending; a file beyond `rotate_bytes` becomes `<name>.1`, and so on up to three."""
    if path.exists() and path.stat().st_size > rotate_bytes:
        for number in range(KEPT_FILES - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def tail(path: Path, lines: int, *, start: int = 0) -> list[str]:
    """The last lines written after byte `start`; empty where there is no file."""
    if lines <= 0 or not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, 2)
        position, found = size, b""
        while position > start and found.count(b"\n") <= lines:
            step = min(_TAIL_BLOCK, position - start)
            position -= step
            file.seek(position)
            found = file.read(step) + found
    return found.decode(errors="replace").splitlines()[-lines:]


class LogFollower:
    """New lines of several files, also through rotation. `pause` waits between two looks."""

    def __init__(self, paths: dict[str, Path], pause: Callable[[], None] | None = None) -> None:
        self._paths = paths
        self._positions = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
        self._pause = pause or (lambda: time.sleep(0.3))

    def lines(self) -> Iterator[tuple[str, str]]:
        """Endless `(name, line)`."""
        while True:
            found = [(name, line) for name, path in self._paths.items() for line in self._new_lines(name, path)]
            yield from found
            if not found:
                self._pause()

    def _new_lines(self, name: str, path: Path) -> list[str]:
        if not path.exists():
            return []
        size = path.stat().st_size
        if size < self._positions[name]:  # rotated
            self._positions[name] = 0
        with path.open("rb") as file:
            file.seek(self._positions[name])
            whole, newline, _ = file.read().rpartition(b"\n")
        self._positions[name] += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines() if newline else []
