"""Models of each family by strength, and the presets that choose among them.

Names as of November 2026 (providers' model lists); a step or configuration that names a model wins over this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Preset = Literal["development", "production", "analysis", "chat", "test"]
Tier = Literal["fast", "balanced", "strong"]

CLAUDE_TIERS: Mapping[Tier, str] = {"fast": "claude-haiku-5-5", "balanced": "claude-sonnet-5-5", "strong": "claude-opus-5-5"}


@dataclass(frozen=True)
class PresetChoice:
    tier: Tier
    max_tokens: int
    temperature: float
    why: str


PRESETS: Mapping[str, PresetChoice] = {
    "development": PresetChoice("fast", 512, 0.2, "cheap and quick while a pipeline is being written"),
    "production": PresetChoice("balanced", 1024, 0.2, "good answers at a bounded price"),
    "analysis": PresetChoice("strong", 2048, 0.0, "the hardest thinking, repeatable"),
    "chat": PresetChoice("balanced", 1024, 0.7, "varied wording at conversational speed"),
    "test": PresetChoice("fast", 256, 0.0, "cheapest and repeatable"),
}
