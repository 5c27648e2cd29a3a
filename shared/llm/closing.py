"""Models that hold connections let them go when their process stops."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from shared.pipeline.completion import LanguageModel


@runtime_checkable
class HoldsConnections(Protocol):
    async def close(self) -> None: ...


async def close_model(model: LanguageModel | None) -> None:
    if isinstance(model, HoldsConnections):
        await model.close()
