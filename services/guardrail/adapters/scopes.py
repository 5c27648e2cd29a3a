"""Trial scopes as documents of the store. Executors read `closed_at` of them."""

from __future__ import annotations

from datetime import datetime

from services.guardrail.domain.budgets import Amounts
from services.guardrail.domain.scope_records import ScopeRecord
from services.guardrail.ports import LeaseUse, ScopeUse
from shared.errors import UnavailableError
from shared.events.answers import malformed, reading
from shared.events.changes import GrantScope
from shared.events.quotas import MOST, CountLease, SealScope, Spent
from shared.events.values import GrantedScope
from shared.messaging.bus import Bus
from shared.storage.collection import Database

_ASK_SECONDS = 5.0
_COUNT_SECONDS = 60.0
"""Executors look through all runs for those of a lease whose holder was lost."""


class MongoScopes:
    def __init__(self, database: Database) -> None:
        self._scopes = database.collection("scopes")

    async def get(self, scope_id: str) -> ScopeRecord | None:
        found = await self._scopes.get(scope_id)
        return ScopeRecord.model_validate({**found, "scope_id": scope_id}) if found else None

    async def add(self, query: GrantScope, granted: GrantedScope, day: str) -> ScopeRecord:
        wish, scope = query.model_dump(mode="json"), granted.model_dump(mode="json")
        document = {"_id": query.scope_id, "wish": wish, "granted": scope, "day": day}
        await self._scopes.insert_once(document)
        stored = await self.get(query.scope_id)
        if stored is None:
            raise UnavailableError(f"scope {query.scope_id} cannot be read back")
        return stored

    async def withdraw(self, scope_id: str, at: datetime) -> bool:
        return await self._scopes.insert_once({"_id": scope_id, "closed_at": at.isoformat(), "closed_by": "withdrawn"})

    async def close(self, scope_id: str, by: str, at: datetime) -> bool:
        is_open = {"_id": scope_id, "closed_at": {"$exists": False}}
        return await self._scopes.update_if(is_open, {"$set": {"closed_at": at.isoformat(), "closed_by": by}})


class BusSealing:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def seal(self, scope_id: str) -> ScopeUse:
        answer = await self._bus.ask(SealScope(scope_id=scope_id), timeout_seconds=_ASK_SECONDS)
        with reading(SealScope):
            used = Amounts.of_spent(Spent.model_validate(answer["used"]))
            use = ScopeUse(used, int(answer["open_calls"]), int(answer["open_tokens"]))
        if answer.get("scope_id") != scope_id or not (0 <= use.open_calls <= MOST and 0 <= use.open_tokens <= MOST):
            raise malformed(SealScope.subject, f"it counts {use.open_calls:.3g} open calls of scope {answer.get('scope_id')}")
        return use

    async def count_lease(self, lease_id: str) -> LeaseUse:
        answer = await self._bus.ask(CountLease(lease_id=lease_id), timeout_seconds=_COUNT_SECONDS)
        with reading(CountLease):
            use = LeaseUse(Amounts.of_spent(Spent.model_validate(answer["used"])), int(answer["running"]))
        if use.running < 0:
            raise malformed(CountLease.subject, f"it counts {use.running:.3g} running runs of lease {lease_id}")
        return use
