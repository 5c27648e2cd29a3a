"""The executor's verbs."""

from __future__ import annotations

from services.executor.use_cases.admission import Admission, DocumentLibrary
from services.executor.use_cases.execute import execute_run, run_child
from services.executor.use_cases.executor import Executor
from services.executor.use_cases.inspect import describe_run, finished_runs, list_runs
from services.executor.use_cases.logs import run_log
from services.executor.use_cases.quotas import ProductionQuotas
from services.executor.use_cases.resume import fork_run, resume_run, retry_run
from services.executor.use_cases.sealing import ScopeSealing
from services.executor.use_cases.standing import GuardedStops
from services.executor.use_cases.stop import PollingCancelWatch, cancel_run, pause_run
from services.executor.use_cases.transfer import export_run, import_run

__all__ = [
    "Admission",
    "DocumentLibrary",
    "Executor",
    "GuardedStops",
    "PollingCancelWatch",
    "ProductionQuotas",
    "ScopeSealing",
    "cancel_run",
    "describe_run",
    "execute_run",
    "export_run",
    "finished_runs",
    "fork_run",
    "import_run",
    "list_runs",
    "pause_run",
    "resume_run",
    "retry_run",
    "run_child",
    "run_log",
]
