"""What analytics needs from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from shared.events.values import Score


class AggregateStore(Protocol):
    async def add(self, aggregate_id: str, labels: Mapping[str, str], run_id: str, amounts: Mapping[str, float]) -> bool:
        """Adds a run's increments once; False if this run was counted before."""
        ...

    async def add_model(self, record_id: str, labels: Mapping[str, str], run_id: str, amounts: Mapping[str, float]) -> bool:
        """As `add`, for the record of one model in one domain."""
        ...

    async def models(self, *, domain: str, family: str | None, limit: int) -> list[dict[str, Any]]:
        """Records of models, most called first."""
        ...

    async def get(self, aggregate_id: str) -> dict[str, Any] | None: ...
    async def select(self, *, pipeline: str | None, purpose: str | None, limit: int) -> list[dict[str, Any]]:
        """Aggregates, most recently changed first."""
        ...

    async def set_quality(self, digest: str, score: Score, source: str) -> None:
        """Keeps the score with the most cases; a sealed measurement beats any other."""
        ...

    async def quality(self, digest: str) -> Score | None: ...
