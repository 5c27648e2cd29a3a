"""Computations that a child process must not let through: each name is a way to misbehave."""

from __future__ import annotations

import os
import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.errors import InvalidInputError, NotFoundError, Problem, StepLimitError


def compute(name: str, arguments: dict[str, Any]) -> Any:
    """`arithmetic` stands for the misbehaviour that its expression names, so that documents can ask for it."""
    return WAYS[arguments["expression"] if name == "arithmetic" else name](arguments)


def _spin(_: Any) -> None:
    while True:
        pass


def _hog(_: Any) -> None:
    kept = []
    while True:
        kept.append(bytearray(1024 * 1024))


def _raise(error: BaseException) -> None:
    raise error


def _opened(_: Any) -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208  the names are the numbers of open files


def _write(_: Any) -> None:
    Path("note.txt").write_text("kept")


def _shout(arguments: dict[str, Any]) -> str:
    print("x" * arguments["bytes"], flush=True)
    return "done"


WAYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "spin": _spin,
    "spin_in_c": lambda _: re.match(r"(a+)+$", "a" * 60 + "b"),
    "hog": _hog,
    "sleep": lambda arguments: time.sleep(arguments.get("seconds", 60)),
    "flood": lambda arguments: "x" * arguments["bytes"],
    "shout": _shout,
    "exit": lambda _: os._exit(3),
    "segfault": lambda _: os.kill(os.getpid(), signal.SIGSEGV),
    "bug": lambda arguments: arguments["missing"],
    "deep": lambda _: _nested(100_000),
    "not_json": lambda _: object(),
    "echo": lambda arguments: arguments["value"],
    "pid": lambda _: os.getpid(),
    "environment": lambda _: dict(os.environ),
    "open_files": _opened,
    "write": _write,
    "cpu_used": lambda _: sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
    "invalid": lambda _: _raise(InvalidInputError([Problem(path="a.b", reason="one"), Problem(path="c", reason="two")])),
    "not_found": lambda _: _raise(NotFoundError("nothing there")),
    "step_limit": lambda _: _raise(StepLimitError("max_rows", "too many rows")),
}


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value
