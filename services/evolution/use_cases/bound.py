"""What every use case of evolution works with."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.evolution.ports import Announcer, Custodian, EvaluationCache, Evolutions, Runs, Templates
from services.evolution.use_cases.under_way import Effects, UnderWay
from shared.clock import Clock


@dataclass(frozen=True)
class Evolution:
    """Evolution's ports and numbers, bound once by the composition root."""

    evolutions: Evolutions
    cache: EvaluationCache
    templates: Templates
    custodian: Custodian
    runs: Runs
    announcer: Announcer
    clock: Clock
    in_flight: int = 8
    run_seconds: float = 60.0
    rewrites: int = 6
    models: tuple[str, ...] = ()
    """`family:model`, cheapest first: what searches may try besides the models of the document."""
    under_way: UnderWay = field(default_factory=UnderWay)


__all__ = ["Effects", "Evolution"]
