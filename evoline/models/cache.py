"""Where weights lie: one file a model in the user's cache folder, beside the parts of a pull under way."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from evoline.models.catalogue import CatalogueEntry
from shared.errors import UnavailableError

CACHE_VARIABLE = "EVOLINE_CACHE_DIR"


@dataclass(frozen=True)
class ModelCache:
    folder: Path

    def file(self, entry: CatalogueEntry) -> Path:
        return self.folder / entry.file_name

    def has(self, entry: CatalogueEntry) -> bool:
        """Present with the right size. Its hash was verified before it got this name."""
        file = self.file(entry)
        return file.is_file() and file.stat().st_size == entry.bytes

    def parts(self, entry: CatalogueEntry) -> Path:
        return self.folder / f"{entry.name}.parts"

    @contextlib.contextmanager
    def locked(self, entry: CatalogueEntry) -> Iterator[None]:
        """One pull of a model at a time. Raises `UnavailableError` while another runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / f"{entry.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UnavailableError(f"another pull of {entry.name} is under way; wait for it to end") from error
            yield
        finally:
            os.close(descriptor)


def find_cache(environment: Mapping[str, str]) -> ModelCache:
    """`EVOLINE_CACHE_DIR`, else `XDG_CACHE_HOME/evoline`, else `~/.cache/evoline`; the models are in `models/` there."""
    given = environment.get(CACHE_VARIABLE)
    if given:
        return ModelCache(Path(given).expanduser() / "models")
    base = environment.get("XDG_CACHE_HOME")
    return ModelCache((Path(base) if base else Path.home() / ".cache") / "evoline" / "models")
