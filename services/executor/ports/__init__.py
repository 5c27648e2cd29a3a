"""What runs need from outside, named by role."""

from __future__ import annotations

from services.executor.ports.budgets import (
    Allowance,
    ClosedScopes,
    Computations,
    LeasedRuns,
    PermitObserver,
    Pools,
    QuotaRules,
    ScopeLedger,
    SealableScopes,
    SharedStates,
)
from services.executor.ports.bus import BusChildren, ModelRecords, Questions
from services.executor.ports.revisions import Proposals, Revisions, Shadows, Standing, Stopped
from services.executor.ports.runs import (
    Announcer,
    CancelWatch,
    Journal,
    RunObserver,
    RunScope,
    RunStore,
    Stage,
    Stop,
    Stops,
    Timers,
)
from services.executor.ports.values import AnswerCache, Conversations, Values

__all__ = [
    "Allowance",
    "Announcer",
    "AnswerCache",
    "BusChildren",
    "CancelWatch",
    "ClosedScopes",
    "Computations",
    "Conversations",
    "Journal",
    "LeasedRuns",
    "ModelRecords",
    "PermitObserver",
    "Pools",
    "Proposals",
    "Questions",
    "QuotaRules",
    "Revisions",
    "RunObserver",
    "RunScope",
    "RunStore",
    "ScopeLedger",
    "SealableScopes",
    "Shadows",
    "SharedStates",
    "Stage",
    "Standing",
    "Stop",
    "Stopped",
    "Stops",
    "Timers",
    "Values",
]
