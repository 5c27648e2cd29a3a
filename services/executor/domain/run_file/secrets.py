"""Leaves secrets out of a run's file: by the name of a field, and by the look of a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.telemetry.redaction import HIDDEN, is_secret_name, redact_text

MAX_PLACES = 1000
RUN_CONTENT = (
    ("command", "inputs"),
    ("command", "document"),
    ("command", "forked_from", "reason"),
    ("finished", "outputs"),
    ("finished", "error"),
    ("finished", "steps"),
    ("finished", "forked_from", "reason"),
    ("suspended_for",),
    ("controls",),
)
"""Where a run holds what people and models said; all else are ids, numbers and states."""
ENTRY_CONTENT = (("result",), ("variables",))


class Hiding:
    """Notes each place that it hides something at."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def run(self, run: dict[str, Any]) -> dict[str, Any]:
        for path in RUN_CONTENT:
            self._at(run, path, "run")
        return run

    def entry(self, number: int, entry: dict[str, Any]) -> dict[str, Any]:
        for path in ENTRY_CONTENT:
            self._at(entry, path, f"journal[{number}]")
        return entry

    def document(self, document: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """None for one that holds a secret: changed, it would not be what its digest names. Names of its fields are no secrets."""
        if document is None:
            return None
        written = json.dumps(document, ensure_ascii=False)
        if redact_text(written) == written:
            return dict(document)
        self._note("document")
        return None

    def _at(self, parent: dict[str, Any], path: tuple[str, ...], place: str) -> None:
        *way, last = path
        for name in way:
            parent, place = parent.get(name) or {}, f"{place}.{name}"
        if last in parent:
            parent[last] = self._hidden(parent[last], f"{place}.{last}")

    def _hidden(self, value: Any, place: str) -> Any:
        if isinstance(value, str):
            shown = redact_text(value)
            if shown != value:
                self._note(place)
            return shown
        if isinstance(value, list):
            return [self._hidden(each, f"{place}[{number}]") for number, each in enumerate(value)]
        if isinstance(value, dict):
            return {name: self._member(name, each, f"{place}.{name}") for name, each in value.items()}
        return value

    def _member(self, name: str, value: Any, place: str) -> Any:
        if value is None or not is_secret_name(name):
            return self._hidden(value, place)
        self._note(place)
        return HIDDEN

    def _note(self, place: str) -> None:
        if len(self.places) < MAX_PLACES:
            self.places.append(place[:300])
