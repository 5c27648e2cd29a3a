"""Language models behind one port: Claude and Gemini through their official SDKs, and the local model through the same SDKs."""

from __future__ import annotations

from shared.llm.anthropic import AnthropicModel
from shared.llm.gemini import GeminiModel
from shared.llm.prices import PriceTable
from shared.llm.providers import build_models

__all__ = ["AnthropicModel", "GeminiModel", "PriceTable", "build_models"]
