"""Language models behind one port: Claude and Gemini through their official SDKs, and the local model through the same SDKs.

The adapters are `shared.llm.anthropic` and `shared.llm.gemini`; nothing here imports them before their first call."""

from __future__ import annotations

from shared.llm.on_demand import ModelOnDemand
from shared.llm.prices import PriceTable
from shared.llm.providers import build_models, providers_of, recorded_answer_tokens, sent_to

__all__ = ["ModelOnDemand", "PriceTable", "build_models", "providers_of", "recorded_answer_tokens", "sent_to"]
