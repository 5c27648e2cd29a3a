"""The trial scope under which the variants of one experiment may run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.evolution.use_cases.bound import Evolution
from shared.events.changes import GrantScope
from shared.events.experiments import StartExperiment
from shared.events.message import derive_id
from shared.events.quotas import CloseScope
from shared.events.values import Budget, GrantedScope
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts

_HOLDER = "evolution"
_CALLS_A_RUN = 4
_TOKENS_A_RUN = 4000
_MOST_SECONDS = 86_400.0
_SPARE_SECONDS = 60.0
_EXPLANATIONS = 1


async def granted(command: StartExperiment, attempt: int, documents: Sequence[Document], at: Evolution) -> GrantedScope:
    """`documents`: the stable one first. Raises `OutOfScopeError` or `LimitReachedError` where the guardrail refuses."""
    runs = command.evaluations + _EXPLANATIONS
    calls = runs * max(_CALLS_A_RUN, *(document_facts(each).estimated_calls for each in documents))
    query = GrantScope(
        scope_id=_scope_id(command, attempt),
        purpose="evolution",
        holder=_HOLDER,
        domain=documents[0].domain,
        budget=Budget(runs=runs, calls=calls, tokens=runs * _TOKENS_A_RUN, cost_usd=round(0.01 * runs, 2)),
        seconds=_seconds(command),
        pipeline=command.pipeline,
        group_id=command.experiment_id,
    )
    estimate = await at.custodian.estimate(command.pipeline, runs)
    return await at.custodian.grant_scope(query.model_copy(update={"estimate": estimate}))


def scope_end(command: StartExperiment, asked_at: str) -> datetime:
    """When a scope that was asked for then ends, at the earliest."""
    return datetime.fromisoformat(asked_at) + timedelta(seconds=_seconds(command))


async def close_scope(command: StartExperiment, record: Mapping[str, Any], at: Evolution) -> None:
    """Nothing more is measured: what was not used is free for others. Nothing happens where none was asked for: the guardrail
    puts every closing that it refuses on record."""
    if not record.get("scope_at"):
        return
    attempt = record["attempt"]
    closing = CloseScope(scope_id=_scope_id(command, attempt), author=_HOLDER, reason="the experiment has ended")
    await at.announcer.announce(closing, cause=command.experiment_id, effect=f"close scope:{attempt}")


def _seconds(command: StartExperiment) -> float:
    return min(_MOST_SECONDS, command.seconds + _SPARE_SECONDS)


def _scope_id(command: StartExperiment, attempt: int) -> str:
    """A scope that was closed is not opened again."""
    return derive_id(command.experiment_id, f"scope:{attempt}")
