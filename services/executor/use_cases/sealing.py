"""Trial scopes end before they expire where the guardrail closed them."""

from __future__ import annotations

from dataclasses import dataclass

from services.executor.ports import ClosedScopes, SealableScopes
from shared.errors import InvalidInputError, Problem
from shared.events.quotas import SealScope, Spent


@dataclass(frozen=True)
class ScopeSealing:
    closed: ClosedScopes
    ledger: SealableScopes

    async def seal(self, query: SealScope) -> dict[str, object]:
        """From the answer on no run starts and no call is made under the scope, on any executor. Raises `InvalidInputError` for one
        that the guardrail did not close: whoever asks, it decides."""
        if not await self.closed.is_closed(query.scope_id):
            reason = f"{query.scope_id} was not closed by the guardrail"
            raise InvalidInputError(Problem(path="scope_id", reason=reason, suggestion="its holder sends `CloseScope`"))
        use = await self.ledger.seal(query.scope_id)
        used = Spent(runs=use.runs, calls=use.calls, tokens=use.tokens, cost_usd=use.cost_usd)
        return {
            "scope_id": query.scope_id,
            "sealed": True,
            "used": used.model_dump(),
            "open_calls": max(0, use.open_calls),
            "open_tokens": max(0, use.open_tokens),
        }
