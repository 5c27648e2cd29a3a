"""`Prices` from the dated table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.llm.prices import LOCAL_PROVIDER, PriceTable

_PROVIDERS = {"claude": "anthropic", "gemini": "google"}


class TablePrices:
    def __init__(self, served_by: Mapping[str, str], table: PriceTable | None = None) -> None:
        """`served_by`: family -> provider; what the local model serves costs nothing."""
        self._served_by = served_by
        self._table = table or PriceTable.load()

    def dearest_usd(self, families: Sequence[str], models: Sequence[str]) -> float:
        return max((self._dearest(family, models) for family in families), default=0.0)

    def _dearest(self, family: str, models: Sequence[str]) -> float:
        provider = self._served_by.get(family, _PROVIDERS.get(family, family))
        if provider == LOCAL_PROVIDER:
            return 0.0
        # A name that stands for no model of the table costs as the provider's dearest, and so does no name.
        named = [name for name in models if name.startswith(family)] or [""]
        prices = [price for name in named if (price := self._table.price(provider, name))]
        return max((max(price.input, price.output) for price in prices), default=0.0)
