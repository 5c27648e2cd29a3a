"""Files inside one folder, and nowhere else: every part of a path is opened without following links, from the folder down.

Opening part by part from directory descriptors leaves no moment between check and use in which a link could be put in."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import InvalidInputError, NotFoundError, StepLimitError

MAX_ENTRIES = 10_000
MAX_DEPTH = 16
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def parts_of(path: str) -> tuple[str, ...]:
    """The parts of a relative path. Raises `InvalidInputError`: absolute, `..`, backslash, NUL, too deep, too long."""
    if not path or path.startswith("/") or "\\" in path or "\0" in path or len(path) > 1000:
        raise InvalidInputError(f"path {path[:80]!r} is not a relative path inside the workspace")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts or len(parts) > MAX_DEPTH or any(len(part.encode()) > 255 for part in parts):
        raise InvalidInputError(f"path {path[:80]!r} leaves the workspace, or is too deep or too long")
    return parts


def read_bytes(workspace: Path, path: str, max_bytes: int) -> bytes:
    with _folder_of(workspace, _file_parts(path)) as (folder, name):
        descriptor = _open_file(folder, name, path)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise StepLimitError("max_bytes", f"file {path!r} is larger than {max_bytes} bytes")
    return content


def write_bytes(workspace: Path, path: str, content: bytes, max_bytes: int) -> None:
    """Replaces the whole file at once, so that no reader and no crash meets half of it."""
    if len(content) > max_bytes:
        raise StepLimitError("max_bytes", f"content for {path!r} is larger than {max_bytes} bytes")
    with _folder_of(workspace, _file_parts(path), create=True) as (folder, name):
        temporary = f".{name[:200]}.{os.getpid()}.part"
        _refuse_folder(folder, name, path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def list_files(workspace: Path, path: str) -> list[str]:
    """Files below a folder, as sorted paths relative to the workspace. Links are not listed."""
    parts = parts_of(path) if path not in ("", ".") else ()
    with _folder_of(workspace, (*parts, ".")) as (folder, _):
        return sorted(_walk(folder, "/".join(parts), MAX_DEPTH))


def _walk(folder: int, prefix: str, depth: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for number, entry in enumerate(listed):
        if number >= MAX_ENTRIES:
            raise StepLimitError("max_entries", f"more than {MAX_ENTRIES} files in {prefix or '.'!r}")
        path = f"{prefix}/{entry.name}" if prefix else entry.name
        if entry.is_file(follow_symlinks=False):
            yield path
        elif entry.is_dir(follow_symlinks=False) and depth > 0:
            inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                yield from _walk(inner, path, depth - 1)
            finally:
                os.close(inner)


def _file_parts(path: str) -> tuple[str, ...]:
    parts = parts_of(path)
    if not parts:
        raise InvalidInputError(f"path {path!r} names no file")
    return parts


@contextmanager
def _folder_of(workspace: Path, parts: tuple[str, ...], *, create: bool = False) -> Iterator[tuple[int, str]]:
    """(descriptor of the folder that holds the last part, last part)."""
    workspace.mkdir(parents=True, exist_ok=True)
    folder = os.open(workspace, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = _open_folder(folder, part, create=create)
            os.close(folder)
            folder = inner
        yield folder, parts[-1]
    finally:
        os.close(folder)


def _open_folder(folder: int, part: str, *, create: bool) -> int:
    try:
        if create:
            _make_folder(folder, part)
        return os.open(part, _FOLDER, dir_fd=folder)
    except FileNotFoundError as error:
        raise NotFoundError(f"no folder {part!r} in the workspace") from error
    except OSError as error:
        raise InvalidInputError(f"{part!r} is not a folder of the workspace") from error


def _make_folder(folder: int, part: str) -> None:
    try:
        os.mkdir(part, 0o700, dir_fd=folder)
    except FileExistsError:
        return


def _open_file(folder: int, name: str, path: str) -> int:
    """A regular file with one name. A second name (hard link) may lead out of the workspace."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {path!r} in the workspace") from error
    except OSError as error:
        raise InvalidInputError(f"{path!r} is a link or cannot be read") from error
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:
        os.close(descriptor)
        raise InvalidInputError(f"{path!r} is not a plain file of the workspace")
    return descriptor


def _refuse_folder(folder: int, name: str, path: str) -> None:
    try:
        state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(state.st_mode):
        raise InvalidInputError(f"{path!r} is a folder or a link: it is not replaced")
