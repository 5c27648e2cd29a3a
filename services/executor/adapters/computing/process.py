"""One child process, seen from the executor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.executor.adapters.computing.frames import ANSWER, MEBIBYTE, REQUEST, ComputationError
from services.executor.ports import Allowance

PROGRAM = "services.executor.adapters.computing.child"
START_SECONDS = 30.0
_ERROR_TEXT_SHOWN = 1000


class ChildDiedError(ComputationError):
    """`signal_number` is what ended it; 0 where it ended itself."""

    def __init__(self, signal_number: int, message: str) -> None:
        self.signal_number = signal_number
        super().__init__(message)


@dataclass(frozen=True)
class Reply:
    body: bytes
    retire: bool


class Child:
    """Takes one call at a time. After an error of a call, and after a cancelled one, it is only fit to be killed."""

    def __init__(self, process: Process, folder: str, error_text: int) -> None:
        self._process = process
        self._folder = folder
        self._error_text = error_text

    @classmethod
    async def start(cls, entry: str) -> Self:
        """Ready for calls. Raises `ComputationError` where it cannot be started."""
        folder, error_text = tempfile.mkdtemp(prefix="evoline-child-"), os.memfd_create("stderr", os.MFD_CLOEXEC)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", PROGRAM, entry),
                stdin=PIPE,
                stdout=PIPE,
                stderr=error_text,
                cwd=folder,
                env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if Path(path).is_absolute()), "LANG": "C.UTF-8"},
            )
        except BaseException as error:
            os.close(error_text)
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise ComputationError(f"no process for computations can be started: {error}") from error
            raise
        child = cls(process, folder, error_text)
        try:
            async with asyncio.timeout(START_SECONDS):
                await child._reply(MEBIBYTE)
        except BaseException as error:
            await child.end()
            if isinstance(error, TimeoutError):
                raise ComputationError(f"a process for computations did not start within {START_SECONDS:g} s") from error
            raise
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def call(self, body: bytes, allowance: Allowance, answer_bytes: int) -> Reply:
        """Raises `ChildDiedError`."""
        header = REQUEST.pack(len(body), allowance.cpu_seconds, allowance.memory_mb * MEBIBYTE, answer_bytes)
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(ConnectionError):  # how it ended is read where the answer would be
            stdin.write(header)
            stdin.write(body)
            await stdin.drain()
        return await self._reply(answer_bytes + MEBIBYTE)

    async def _reply(self, most_bytes: int) -> Reply:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            length, retire = ANSWER.unpack(await stdout.readexactly(ANSWER.size))
            if length > most_bytes:
                raise ComputationError(f"a process for computations answers with {length:,} bytes")
            return Reply(await stdout.readexactly(length), retire)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise await self._death() from error

    async def _death(self) -> ChildDiedError:
        code = await self._process.wait()
        said = os.pread(self._error_text, MEBIBYTE, 0).decode(errors="replace").strip()[-_ERROR_TEXT_SHOWN:]
        if code >= 0:
            return ChildDiedError(0, f"the process of a computation ended itself with code {code}: {said or 'it said nothing'}")
        name = signal.Signals(-code).name
        return ChildDiedError(-code, f"the process of a computation was ended by {name}{': ' if said else ''}{said}")

    async def end(self) -> None:
        """Kills it, and returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        os.close(self._error_text)
        shutil.rmtree(self._folder, ignore_errors=True)
