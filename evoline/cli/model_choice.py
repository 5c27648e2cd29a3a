"""Which local model a start of the stack serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evoline.stack.preflight import has_all_keys


def choose_model(environment: Mapping[str, str], *, wanted: bool, quiet: bool) -> tuple[Path | None, str]:
    """(file to serve, endpoint to use); both empty where the providers answer for themselves or no model is wanted."""
    if not wanted or has_all_keys(environment):
        return None, ""
    return Path(environment["EVOLINE_MODEL_FILE"]).resolve(), ""
