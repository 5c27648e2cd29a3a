"""What is left to nested runs, in `evoline_executor`: one document a pool, taken from by conditional decrements."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from services.executor.domain.spending import Spending
from shared.clock import Clock
from shared.errors import LimitReachedError
from shared.storage import Database

_FREE_USD = 1e-12
"""Stands for a limit of nothing: calls that cost nothing are within it."""


class MongoPools:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._pools = database.collection("pools")
        self._clock = clock

    async def open(self, pool_id: str, left: Spending) -> None:
        amounts = {**asdict(left), "cost_usd": max(left.cost_usd, _FREE_USD)}
        await self._pools.insert_once({"_id": pool_id, **amounts, "opened_at": self._clock.now()})

    async def is_open(self, pool_id: str) -> bool:
        return await self._pools.get(pool_id) is not None

    async def take(self, pool_id: str, wanted: Spending) -> None:
        amounts = {name: amount for name, amount in asdict(wanted).items() if amount}
        room: dict[str, Any] = {"_id": pool_id, **{name: {"$gte": amount} for name, amount in amounts.items()}}
        if wanted.calls:
            room["cost_usd"] = {"$gt": 0.0}
        if not await self._pools.update_if(room, {"$inc": {name: -amount for name, amount in amounts.items()}}):
            raise await self._used_up(pool_id, amounts)

    async def give_back(self, pool_id: str, unused: Spending) -> None:
        amounts = {name: amount for name, amount in asdict(unused).items() if amount}
        if amounts:
            await self._pools.update_if({"_id": pool_id}, {"$inc": amounts})

    async def _used_up(self, pool_id: str, wanted: dict[str, float]) -> LimitReachedError:
        left = await self._pools.get(pool_id) or {}
        name = next((name for name, amount in wanted.items() if left.get(name, 0) < amount), "cost_usd")
        return LimitReachedError(
            name, f"what is left of run {pool_id} and all that is nested in it is {left.get(name, 0):g} {name}"
        )
