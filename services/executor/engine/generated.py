"""Documents that a run made itself. No approval holds for them, so each step that runs some asks the guardrail for a trial scope:
one signed permission, bounded by policy and by the run's own limits, that executors check for every one of them."""

from __future__ import annotations

from collections.abc import Sequence

from services.executor.domain.admission import is_written_in
from services.executor.engine.patience import patiently
from services.executor.engine.run_state import RunState
from services.executor.ports import Questions
from shared.attestation import Grants
from shared.clock import Clock
from shared.events.changes import GrantScope
from shared.events.message import derive_id
from shared.events.values import Budget, GrantedScope
from shared.pipeline.step import ChildSpec

PURPOSE = "generation"


def is_generated(state: RunState, child: ChildSpec) -> bool:
    """Whether nothing that the run was allowed with covers this document: neither its scope nor its own approved text."""
    if child.document is None or state.record.command.scope is not None:
        return False
    return not is_written_in(child.document, state.document)


class TrialScopes:
    def __init__(self, questions: Questions, grants: Grants, clock: Clock) -> None:
        self._questions = questions
        self._grants = grants
        self._clock = clock

    async def for_children(self, state: RunState, position: str, children: Sequence[ChildSpec]) -> GrantedScope | None:
        """None where every child is covered. The same step of the same run gets the same scope, whoever owns the run.

        Raises `OutOfScopeError` or `LimitReachedError` where the guardrail refuses, `StoreUnavailableError` without it."""
        generated = sum(is_generated(state, child) for child in children)
        if not generated:
            return None
        wish = _wish(state, position, generated)

        async def granted() -> GrantedScope:
            return self._grants.checked(await self._questions.ask(wish), wish)

        return await patiently(granted, self._clock)


def _wish(state: RunState, position: str, runs: int) -> GrantScope:
    """Only of what does not change while the run goes on: the same scope id with another wish is refused."""
    record, limits = state.record, state.meter.limits
    budget = Budget(runs=runs, calls=limits.calls, tokens=limits.tokens, cost_usd=limits.cost_usd)
    return GrantScope(
        scope_id=derive_id(record.run_id, f"{position}:scope:{record.retries}"),
        purpose=PURPOSE,
        holder=f"pipeline:{record.pipeline}",
        domain=record.domain,
        budget=budget,
        seconds=limits.seconds,
    )
