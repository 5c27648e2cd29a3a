"""Where models lie on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evoline.models.catalogue import ModelEntry


def models_folder(environment: Mapping[str, str]) -> Path:
    """`$EVOLINE_CACHE_DIR/models`, else `$XDG_CACHE_HOME/evoline/models`, else `~/.cache/evoline/models`."""
    own = environment.get("EVOLINE_CACHE_DIR")
    if own:
        return Path(own) / "models"
    shared_cache = environment.get("XDG_CACHE_HOME")
    home = Path(environment.get("HOME") or Path.home())
    return (Path(shared_cache) if shared_cache else home / ".cache") / "evoline" / "models"


def is_pulled(entry: ModelEntry, folder: Path) -> bool:
    """A file gets its name only after its hash was verified, so its size tells enough."""
    file = folder / entry.file
    return file.is_file() and file.stat().st_size == entry.size_bytes
