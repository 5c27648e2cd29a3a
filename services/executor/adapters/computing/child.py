"""A child that computes, one request after the other: `python -m services.executor.adapters.computing.child MODULE:FUNCTION`.

It has nothing of the executor but two pipes: no environment, no files, no folder to write into. Memory and answers are bounded
here; over its CPU seconds the kernel ends it (SIGPROF), even where it is inside a C function. It ends with its parent.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from services.executor.adapters.computing.frames import ANSWER, MEBIBYTE, REQUEST, described
from shared.errors import LimitReachedError

Compute = Callable[[str, dict[str, Any]], Any]

GROWTH_BYTES = 128 * MEBIBYTE
"""A child that holds so much more than at its start gives its place to a fresh one."""
_OWN_FILES = 16
_ERROR_TEXT_BYTES = MEBIBYTE
_PR_SET_PDEATHSIG = 1


def main(entry: str) -> None:
    _end_with_parent()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # not every event loop keeps its files to itself
    requests, answers = os.fdopen(0, "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a computation prints is no answer
    module, _, function = entry.partition(":")
    compute: Compute = getattr(importlib.import_module(module), function)
    _leave_folder()
    _set_fixed_limits()
    most = _address_space() + GROWTH_BYTES
    _send(answers, b"{}", retire=False)
    while header := requests.read(REQUEST.size):
        length, cpu_seconds, memory_bytes, answer_bytes = REQUEST.unpack(header)
        _allow(cpu_seconds, memory_bytes)
        body = _answer(compute, requests, length, answer_bytes, memory_bytes)
        _allow(0.0, None)
        _send(answers, body, retire=_address_space() > most)


def _answer(compute: Compute, requests: BinaryIO, length: int, answer_bytes: int, memory_bytes: int) -> bytes:
    try:
        name, arguments = json.loads(requests.read(length))
        body = json.dumps({"value": compute(name, arguments)}, allow_nan=False).encode()
        if len(body) <= answer_bytes:
            return body
        error: BaseException = LimitReachedError(
            "answer_bytes", f"{name} gave {len(body):,} bytes; at most {answer_bytes:,} are taken"
        )
    except MemoryError:
        error = LimitReachedError("memory_mb", f"a computation needed more than {memory_bytes // MEBIBYTE} MB")
    except Exception as raised:
        error = raised.with_traceback(None)
    return json.dumps({"error": described(error)}).encode()


def _send(answers: BinaryIO, body: bytes, *, retire: bool) -> None:
    answers.write(ANSWER.pack(len(body), retire))
    answers.write(body)
    answers.flush()


def _end_with_parent() -> None:
    """The end of the pipe says so too, but only to a child that listens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave_folder() -> None:
    """In a folder that was removed, nothing can be made, and nothing is left behind."""
    Path.cwd().rmdir()


def _set_fixed_limits() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OWN_FILES, _OWN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_ERROR_TEXT_BYTES, _ERROR_TEXT_BYTES))


def _allow(cpu_seconds: float, memory_bytes: int | None) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    most = resource.RLIM_INFINITY if memory_bytes is None else _address_space() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _address_space() -> int:
    """Bytes."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  of every call: a path object costs more than the reading
        return int(file.read().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    main(sys.argv[1])
