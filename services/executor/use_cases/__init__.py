"""The executor's verbs."""

from __future__ import annotations

from services.executor.use_cases.admission import Admission, DocumentLibrary
from services.executor.use_cases.execute import Executor, execute_run, run_child
from services.executor.use_cases.inspect import describe_run, finished_runs, list_runs
from services.executor.use_cases.stop import PollingCancelWatch, cancel_run

__all__ = [
    "Admission",
    "DocumentLibrary",
    "Executor",
    "PollingCancelWatch",
    "cancel_run",
    "describe_run",
    "execute_run",
    "finished_runs",
    "list_runs",
    "run_child",
]
