"""What a call costs: a dated table in `prices.json`, looked up by provider and model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from shared.events.values import Usage

TABLE_FILE = Path(__file__).with_name("prices.json")
LOCAL_PROVIDER = "local"
MILLION = 1_000_000


class Price(BaseModel):
    """US dollars per million tokens. Cached input is charged like fresh input: an upper bound for every provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str
    model: str
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    as_of: str
    source: str
    batch_factor: float = Field(default=1.0, ge=0, le=1)
    """What is left of the price in the provider's batch interface."""
    batch_source: str = ""


class PriceTable:
    def __init__(self, prices: Sequence[Price]) -> None:
        self._prices = tuple(prices)

    @classmethod
    def load(cls, file: Path = TABLE_FILE) -> PriceTable:
        return cls([Price.model_validate(entry) for entry in json.loads(file.read_text("utf-8"))["models"]])

    def price(self, provider: str, model: str) -> Price | None:
        """The longest listed name that `model` begins with, since providers append dates and versions.

        A model that is not listed costs as much as the provider's dearest one, so that a cost limit never fails open;
        None for the local model and for providers without any entry."""
        listed = [price for price in self._prices if price.provider == provider]
        named = [price for price in listed if model.startswith(price.model)]
        if named:
            return max(named, key=lambda price: len(price.model))
        return max(listed, key=lambda price: price.output, default=None)

    def cost_usd(self, provider: str, model: str, usage: Usage, *, in_batch: bool = False) -> float:
        if provider == LOCAL_PROVIDER:
            return 0.0
        price = self.price(provider, model)
        if price is None:
            return 0.0
        whole = (usage.input_tokens * price.input + usage.output_tokens * price.output) / MILLION
        return whole * price.batch_factor if in_batch else whole

    def charged(self, provider: str, model: str, usage: Usage, *, in_batch: bool = False) -> Usage:
        return usage.model_copy(update={"cost_usd": self.cost_usd(provider, model, usage, in_batch=in_batch)})
