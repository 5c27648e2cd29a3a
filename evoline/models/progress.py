"""How far a pull is: a bar on a terminal, a line every tenth elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


class PullDisplay(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
    def show(self, done_bytes: int, all_bytes: int) -> None: ...


class _Display:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Lines(_Display):
    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self._stream = stream
        self._tenths = -1

    def show(self, done_bytes: int, all_bytes: int) -> None:
        tenths = 10 * done_bytes // all_bytes
        if tenths > self._tenths:
            self._tenths = tenths
            self._stream.write(f"pulling {self._name}: {tenths * 10}% of {all_bytes / 1e6:.0f} MB\n")
            self._stream.flush()


class Bar(_Display):
    def __init__(self, name: str, console: Console) -> None:
        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, done_bytes: int, all_bytes: int) -> None:
        self._progress.update(self._task, completed=done_bytes, total=all_bytes)


class Quiet(_Display):
    """For `--json`: the answer is the only output."""

    def show(self, done_bytes: int, all_bytes: int) -> None: ...
