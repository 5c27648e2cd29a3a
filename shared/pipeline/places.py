"""Where the parts of a document stand in its source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.errors import Problem
from shared.pipeline.plain_values import Path, dotted
from shared.pipeline.yaml_source import Source

ROOT_KEY = "workflow"


class Places:
    """Lines and paths of one source; a root key `workflow:` around the document is no part of its paths."""

    def __init__(self, source: Source, file: str) -> None:
        self._source = source
        self._file = file
        value = source.value
        wrapped = isinstance(value, Mapping) and set(value) == {ROOT_KEY}
        self._prefix: Path = (ROOT_KEY,) if wrapped else ()
        self.root: Any = value[ROOT_KEY] if wrapped else value

    def problem(self, path: Path, reason: str, suggestion: str = "", line_inside: int = 0) -> Problem:
        return Problem(file=self._file, line=self.line(path, line_inside), path=dotted(path), reason=reason, suggestion=suggestion)

    def line(self, path: Path, line_inside: int = 0) -> int:
        """Line of the nearest enclosing thing that has one; inside a block text, of the line meant."""
        full = (*self._prefix, *path)
        if line_inside and full in self._source.blocks:
            return self._source.blocks[full] + line_inside - 1
        while full and full not in self._source.lines:
            full = full[:-1]
        return self._source.lines.get(full, 0)

    def known_path(self, location: tuple[str | int, ...]) -> Path:
        """A validation error's location without the names of union members, which are no part of the document."""
        path: list[str | int] = []
        here: Any = self.root
        for index, part in enumerate(location):
            is_last = index == len(location) - 1
            inside = isinstance(here, Mapping) and part in here
            inside = inside or (isinstance(here, list | tuple) and isinstance(part, int) and part < len(here))
            if inside:
                here = here[part]
                path.append(part)
            elif is_last and isinstance(part, str) and re.fullmatch(r"[a-z_]+", part) and isinstance(here, Mapping):
                path.append(part)
        return tuple(path)

    def at(self, path: Path) -> Any:
        """What stands at a path; None where nothing does."""
        here: Any = self.root
        for part in path:
            try:
                here = here[part]
            except (KeyError, IndexError, TypeError):
                return None
        return here

    def step_paths(self) -> dict[str, list[Path]]:
        """Paths of the steps of each name, inner steps too, in written order."""
        found: dict[str, list[Path]] = {}
        _find_steps(self.root.get("steps"), ("steps",), found)
        return found


def _find_steps(value: Any, path: Path, found: dict[str, list[Path]]) -> None:
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str) and isinstance(value.get("type"), str):
            found.setdefault(value["name"], []).append(path)
        for key, member in value.items():
            _find_steps(member, (*path, key), found)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            _find_steps(member, (*path, index), found)
