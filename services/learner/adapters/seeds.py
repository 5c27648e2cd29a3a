"""The seed templates, read once at start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


class FileSeedTemplates:
    def __init__(self, folder: Path) -> None:
        self._documents = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.yaml"))]

    def documents(self) -> Sequence[Mapping[str, Any]]:
        return self._documents
