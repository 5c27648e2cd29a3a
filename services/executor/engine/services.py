"""What all runs of one executor share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.executor.engine.batches import ProviderBatches
from services.executor.engine.children import ChildRuns
from services.executor.engine.completions import Completions
from services.executor.engine.functions import FunctionDesk
from services.executor.engine.run_state import AnswerDefaults
from services.executor.ports import Conversations, ModelRecords, Proposals, RunObserver
from shared.clock import Clock
from shared.pipeline.breaker import CircuitBreaker
from shared.pipeline.step import StepType


class Breakers:
    """One circuit breaker a `<family>:<model>`, made at first use."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._breakers: dict[str, CircuitBreaker] = {}

    def get(self, key: str) -> CircuitBreaker:
        return self._breakers.setdefault(key, CircuitBreaker(self._clock))


@dataclass(frozen=True)
class StepServices:
    clock: Clock
    step_type: Callable[[str], StepType]
    completions: Completions
    batches: ProviderBatches
    functions: FunctionDesk
    children: ChildRuns
    conversations: Conversations
    proposals: Proposals
    model_records: ModelRecords
    breakers: Breakers
    observer: RunObserver
    workspace_dir: Path
    answers: AnswerDefaults = field(default_factory=AnswerDefaults)
    replays: bool = False
    """Model calls are answered from a cassette."""
    park_after_seconds: float = 15.0
    """A wait for another attempt that is longer than this holds no place in the executor."""
    providers: Mapping[str, str] = field(default_factory=dict)
    """Who serves a family here: whom a call that was not answered counts against."""
