"""Every metric of the system: name, unit, meaning, labels. Labels hold no ids, only small closed sets of values.

Instruments are made on a registry that the caller gives; each class is what one part of a service reports to. Durations are in
seconds, sizes in bytes, money in US dollars, shares in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import Metric
from shared.telemetry.metrics import budgets, bus, changes, gains, improving, providers, rollouts, runs, services
from shared.telemetry.metrics.budgets import BudgetMetrics
from shared.telemetry.metrics.bus import BusMetrics
from shared.telemetry.metrics.changes import AuditMetrics, ChangeMetrics, OversightMetrics
from shared.telemetry.metrics.gains import GainMetrics
from shared.telemetry.metrics.improving import EvolutionMetrics, GenerationMetrics, LearningMetrics
from shared.telemetry.metrics.providers import ProviderMetrics, Tokens
from shared.telemetry.metrics.rollouts import RolloutMetrics
from shared.telemetry.metrics.runs import RunMetrics
from shared.telemetry.metrics.services import SERVICE_INFO, BackgroundMetrics

__all__ = [
    "AuditMetrics",
    "BackgroundMetrics",
    "BudgetMetrics",
    "BusMetrics",
    "ChangeMetrics",
    "EvolutionMetrics",
    "GainMetrics",
    "GenerationMetrics",
    "LearningMetrics",
    "Metrics",
    "OversightMetrics",
    "ProviderMetrics",
    "RolloutMetrics",
    "RunMetrics",
    "Tokens",
    "catalogue",
]

_PARTS = (services, bus, runs, providers, changes, rollouts, improving, budgets, gains)


def catalogue() -> Iterator[Metric]:
    """All metrics, part by part, in the order of the files."""
    for part in _PARTS:
        yield from (value for value in vars(part).values() if isinstance(value, Metric))


class Metrics:
    """All instruments of one process; a part that is never used costs nothing but its zero series."""

    def __init__(self, registry: CollectorRegistry, *, service: str, version: str) -> None:
        SERVICE_INFO.gauge(registry).labels(service, version).set(1)
        self.registry = registry
        self.bus = BusMetrics(registry)
        self.background = BackgroundMetrics(registry)
        self.runs = RunMetrics(registry)
        self.providers = ProviderMetrics(registry)
        self.changes = ChangeMetrics(registry)
        self.audit = AuditMetrics(registry)
        self.oversight = OversightMetrics(registry)
        self.budgets = BudgetMetrics(registry)
        self.rollouts = RolloutMetrics(registry)
        self.generation = GenerationMetrics(registry)
        self.evolution = EvolutionMetrics(registry)
        self.learning = LearningMetrics(registry)
        self.gains = GainMetrics(registry)
