"""Provider faults made on purpose: whether a pipeline survives them is one of its objectives."""

from __future__ import annotations

import hashlib
from typing import Protocol

from services.executor.engine.run_state import RunState
from shared.errors import ProviderError
from shared.events.runs import FaultPlan
from shared.pipeline.completion import Completion, CompletionRequest

_RANGE = 2**64


def of_child(plan: FaultPlan | None, position: str, key: str) -> FaultPlan | None:
    """What a run that is nested at this place gets."""
    if plan is None:
        return None
    mark = hashlib.sha256(f"{plan.place}{position}:{key}".encode()).hexdigest()[:16]
    return plan.model_copy(update={"place": f"{mark}:"})


class Completing(Protocol):
    async def complete(self, request: CompletionRequest) -> Completion: ...


class FaultyModel:
    """Fails a share of a run's calls before they reach the provider: they cost nothing and no provider is blamed for them.

    Which ones fail follows from seed, case, a nested run's place and the call's number, so all candidates meet the same faults on
    the same case."""

    def __init__(self, model: Completing, state: RunState, plan: FaultPlan) -> None:
        self._model = model
        self._state = state
        self._plan = plan

    async def complete(self, request: CompletionRequest) -> Completion:
        self._state.calls_begun += 1
        command = self._state.record.command
        mark = f"{command.seed}:{command.case_id}:{self._plan.place}{self._state.calls_begun}"
        draw = int.from_bytes(hashlib.sha256(mark.encode()).digest()[:8], "big")
        if draw / _RANGE < self._plan.share:
            kind = self._plan.kinds[draw % len(self._plan.kinds)]
            raise ProviderError(kind, f"a fault of this trial: {kind}")
        return await self._model.complete(request)
