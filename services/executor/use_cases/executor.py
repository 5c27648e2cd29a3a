"""What an executor's verbs work with."""

from __future__ import annotations

from dataclasses import dataclass

from services.executor.engine import StepServices
from services.executor.ports import Announcer, CancelWatch, Journal, Pools, RunObserver, RunStore, Stops, Timers, Values
from services.executor.use_cases.admission import Admission
from services.executor.use_cases.quotas import ProductionQuotas
from services.executor.use_cases.sealing import ScopeSealing
from shared.clock import Clock


@dataclass(frozen=True)
class Executor:
    """What `execute_run` works with."""

    executor_id: str
    runs: RunStore
    journal: Journal
    admission: Admission
    sealing: ScopeSealing
    quotas: ProductionQuotas
    services: StepServices
    watch: CancelWatch
    announcer: Announcer
    observer: RunObserver
    clock: Clock
    stops: Stops
    timers: Timers
    values: Values
    pools: Pools
    max_takeovers: int = 8
    version: str = ""
    """Evoline's."""
