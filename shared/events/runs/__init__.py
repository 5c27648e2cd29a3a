"""Runs: one command is one run, one fact ends it."""

from __future__ import annotations

from shared.events.runs.control import CancelRun, ForkRun, PauseRun, ResumeRun, RetryRun
from shared.events.runs.facts import ModelUse, RunFinished, RunStarted, RunSuspended, StepFact
from shared.events.runs.orders import Continuation, ControlVerb, ExecuteRun, FaultPlan
from shared.events.runs.queries import FinishedRuns, GetRun, ListRuns
from shared.events.runs.values import ForkOrigin, RunArm, RunPurpose, RunStatus, ShadowOrigin, StepStatus

__all__ = [
    "CancelRun",
    "Continuation",
    "ControlVerb",
    "ExecuteRun",
    "FaultPlan",
    "FinishedRuns",
    "ForkOrigin",
    "ForkRun",
    "GetRun",
    "ListRuns",
    "ModelUse",
    "PauseRun",
    "ResumeRun",
    "RetryRun",
    "RunArm",
    "RunFinished",
    "RunPurpose",
    "RunStarted",
    "RunStatus",
    "RunSuspended",
    "ShadowOrigin",
    "StepFact",
    "StepStatus",
]
