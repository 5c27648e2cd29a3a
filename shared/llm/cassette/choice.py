"""Which cassette the settings ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from shared.errors import ConfigurationError

Mode = Literal["record", "replay"]


@dataclass(frozen=True)
class CassetteChoice:
    mode: Mode
    file: Path

    def written(self) -> str:
        return f"{self.mode}:{self.file}"


def chosen_cassette(text: str) -> CassetteChoice | None:
    """None for an empty text. Raises `ConfigurationError` for one that is neither `record:FILE` nor `replay:FILE`."""
    if not text:
        return None
    mode, _, file = text.partition(":")
    if mode not in ("record", "replay") or not file:
        raise ConfigurationError(f"cassette {text!r}: write record:FILE or replay:FILE")
    return CassetteChoice(cast("Mode", mode), Path(file).expanduser().resolve())


def is_replay(text: str) -> bool:
    """Whether calls are answered from a cassette."""
    choice = chosen_cassette(text)
    return choice is not None and choice.mode == "replay"
