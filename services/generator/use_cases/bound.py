"""What every use case of the generator works with."""

from __future__ import annotations

from dataclasses import dataclass

from services.generator.ports import Announcer, Custodian, Metrics, RequestStore, Runs, TemplateLibrary
from shared.clock import Clock
from shared.events.message import Message

Effects = list[tuple[str, Message]]


@dataclass(frozen=True)
class Generator:
    """The generator's ports and settings, bound once by the composition root."""

    requests: RequestStore
    library: TemplateLibrary
    custodian: Custodian
    runs: Runs
    announcer: Announcer
    metrics: Metrics
    clock: Clock
    trial_in_flight: int = 4
    """Trial runs in flight a request."""
    synthesis_seconds: float = 25.0
    """How long the model may take to write a pipeline."""
