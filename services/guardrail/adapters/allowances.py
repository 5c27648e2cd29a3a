"""Counted permissions: one document an account, every reservation one conditional update."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from shared.errors import UnavailableError
from shared.events.values import Budget
from shared.storage.collection import Collection, Database

_TRIES = 200
"""A try is lost only when another reserver won in between, so this bounds the reservers at one moment."""
_MICRO = 1_000_000


class MongoAllowances:
    def __init__(self, database: Database) -> None:
        self._quotas = database.collection("quotas")
        self._alpha = database.collection("alpha")

    async def reserve(self, account: str, key: str, amount: Budget, limit: Budget) -> bool:
        """Dollars are counted in whole millionths, so that sums are exact."""
        wanted, most, mark = _counts(amount), _counts(limit), f"keys.{_short(key)}"
        if any(wanted[name] > most[name] for name in wanted):
            return False
        room = {name: {"$lte": most[name] - wanted[name]} for name in wanted}
        update = {"$inc": wanted, "$set": {mark: True}}
        for _ in range(2):
            if await self._quotas.update_if({"_id": account, mark: {"$exists": False}, **room}, update):
                return True
            if found := await self._quotas.get(account):
                return _short(key) in found["keys"]
            await self._quotas.insert_once({"_id": account, "keys": {}, **dict.fromkeys(wanted, 0)})
        return False

    async def reserve_alpha(self, account: str, change_id: str, choose: Callable[[int, float], float]) -> float:
        mark = _short(change_id)
        for _ in range(_TRIES):
            found = await self._account(self._alpha, account)
            if mark in found["looks"]:
                return float(found["looks"][mark]["alpha"])
            spent = sum(look["alpha"] for look in found["looks"].values())
            alpha = choose(len(found["looks"]), spent)
            if alpha <= 0.0:
                return 0.0
            update = {"$set": {f"looks.{mark}": {"alpha": alpha, "change_id": change_id}}, "$inc": {"version": 1}}
            if await self._alpha.update_if({"_id": account, "version": found["version"]}, update):
                return alpha
        raise UnavailableError(f"too many looks at {account} at this moment")

    async def _account(self, collection: Collection, account: str) -> dict[str, Any]:
        await collection.insert_once({"_id": account, "version": 0, "looks": {}})
        found = await collection.get(account)
        if found is None:
            raise UnavailableError(f"account {account} cannot be read back")
        return found


def _counts(budget: Budget) -> dict[str, int]:
    return {
        "runs": budget.runs,
        "calls": budget.calls,
        "tokens": budget.tokens,
        "cost_micro_usd": round(budget.cost_usd * _MICRO),
    }


def _short(key: str) -> str:
    """Safe as a field name, which a client's id with dots is not."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
