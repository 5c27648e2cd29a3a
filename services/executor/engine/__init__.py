"""Executes the steps of one run: order, conditions, retries, time-outs, limits, journal."""

from __future__ import annotations

from services.executor.engine.run_engine import RunEngine
from services.executor.engine.run_journal import RunJournal
from services.executor.engine.run_state import RunState
from services.executor.engine.run_time import RunTime
from services.executor.engine.services import StepServices
from services.executor.engine.sharing import SharedLimits

__all__ = ["RunEngine", "RunJournal", "RunState", "RunTime", "SharedLimits", "StepServices"]
