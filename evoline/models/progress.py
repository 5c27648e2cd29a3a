"""How far a pull is: a bar on a terminal, a line every tenth elsewhere. Always on stderr."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn


class Lines:
    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        self._tenths = -1

    def say(self, text: str) -> None:
        self._stream.write(f"{self._name}: {text}\n")
        self._stream.flush()

    def advance_to(self, done_bytes: int, of_bytes: int) -> None:
        tenths = 10 * done_bytes // of_bytes
        if tenths > self._tenths:
            self._tenths = tenths
            self.say(f"{tenths * 10}% of {of_bytes / 1e6:.0f} MB")


class Bar:
    def __init__(self, name: str, console: Console) -> None:
        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console)
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def advance_to(self, done_bytes: int, of_bytes: int) -> None:
        if self._task is None:
            self._task = self._progress.add_task("", total=of_bytes)
            self._progress.start()
        self._progress.update(self._task, completed=done_bytes)

    def stop(self) -> None:
        self._progress.stop()


class Quiet:
    """For `--json`: the answer is the only output."""

    def say(self, text: str) -> None: ...
    def advance_to(self, done_bytes: int, of_bytes: int) -> None: ...


def lines(name: str) -> Lines:
    return Lines(name, sys.stderr)
