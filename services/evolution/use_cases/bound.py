"""What every use case of evolution works with."""

from __future__ import annotations

from dataclasses import dataclass

from services.evolution.ports import Announcer, Custodian, EvaluationCache, Evolutions, Runs
from shared.clock import Clock
from shared.events.message import Message

Effects = list[tuple[str, Message]]


@dataclass(frozen=True)
class Evolution:
    """Evolution's ports and numbers, bound once by the composition root."""

    evolutions: Evolutions
    cache: EvaluationCache
    custodian: Custodian
    runs: Runs
    announcer: Announcer
    clock: Clock
    in_flight: int = 8
    run_seconds: float = 60.0
    rewrites: int = 6
