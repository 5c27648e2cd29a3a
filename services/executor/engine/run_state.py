"""What one run knows while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from services.executor.domain.meter import RunMeter
from services.executor.domain.records import RunFencedError, RunRecord
from services.executor.domain.spending import Reserved
from services.executor.engine.run_journal import RunJournal
from services.executor.engine.run_time import RunTime
from services.executor.engine.sharing import SharedLimits
from shared.events.values import Usage
from shared.pipeline.breaker import CircuitBreaker
from shared.pipeline.dataflow import AutoContext, auto_context
from shared.pipeline.document import Document, Step
from shared.pipeline.names import step_view
from shared.pipeline.step import RunInfo, StepResult
from shared.pipeline.walk import inner_steps, walk


@dataclass(frozen=True)
class AnswerDefaults:
    """For steps that say nothing, in documents that say nothing; None leaves it to the step type."""

    preset: str = "production"
    tokens: int | None = None
    seconds: float | None = None


@dataclass
class RunState:
    record: RunRecord
    document: Document
    inputs: Mapping[str, Any]
    meter: RunMeter
    journal: RunJournal
    time: RunTime
    shared: SharedLimits
    deadline: float
    """On the monotonic clock."""
    is_held: Callable[[], bool] = lambda: True
    """False once another executor may have the run."""
    answers: AnswerDefaults = AnswerDefaults()
    variables: dict[str, Any] = field(default_factory=dict)
    views: dict[str, Any] = field(default_factory=dict)
    """Top-level steps as templates see them."""
    results: dict[str, StepResult] = field(default_factory=dict)
    has_workspace: bool = False
    to_settle: dict[str, tuple[Reserved, Usage]] = field(default_factory=dict)
    """By step: what was reserved in pools and the trial scope, and what was used of it; settled once the step is in the journal.
    Settled before, it would be settled again by the next owner."""
    doubtful_batches: set[str] = field(default_factory=set)
    """Steps whose batch may have been submitted without this executor hearing of it."""
    calls_begun: int = 0
    """Of a run with faults: what decides which call fails. An owner that takes it over goes on counting where its steps ended."""
    own_breakers: dict[str, CircuitBreaker] = field(default_factory=dict)
    """Of a run with faults its own: what it makes fail must not keep others from the provider."""
    _contexts: dict[str, AutoContext] = field(default_factory=dict)
    call_slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        if self.record.command.faults is not None:
            self.calls_begun = self.journal.calls_begun
        self.call_slots = asyncio.Semaphore(self.meter.limits.concurrency)

    @cached_property
    def body_digest(self) -> str:
        return self.document.body_digest

    def check_held(self) -> None:
        """Raises `RunFencedError` where this executor was silent for so long that another one may have the run."""
        if not self.is_held():
            raise RunFencedError(f"run {self.record.run_id} may have another owner: this executor was silent for too long")

    def take_due(self, path: str) -> list[tuple[Reserved, Usage]]:
        """What is to be settled now that the step at `path` is in the journal: its own, and that of a step in its place."""
        due = [each for each in self.to_settle if each == path or each.startswith(f"{path}.")]
        return [self.to_settle.pop(each) for each in due]

    def has_parallel(self, position: str) -> bool:
        """Whether other steps may run beside the one at `position`."""
        return self.document.execution != "sequential" or any(
            inner_steps(step) and getattr(step.options, "max_parallel", 1) > 1 for step in self._around(position)
        )

    def outlives(self, position: str) -> bool:
        """Whether the run may go on where the step at `position` is cut off by a time-out."""
        steps = self._around(position)
        tolerates = any(step.on_error != "fail" or getattr(step.options, "on_item_error", "fail") != "fail" for step in steps)
        return tolerates and any(step.timeout_seconds is not None for step in steps)

    def _around(self, position: str) -> list[Step]:
        """The top-level step that holds the one at `position`, and all inside it."""
        top = position.partition(".")[0].partition("[")[0]
        held = walk(tuple(step for step in self.document.steps if step.name == top))
        return [self.document.effective(step) for step in held]

    def auto_context(self, step: Step) -> AutoContext:
        """Found once a step, however often it is executed: it takes a look at every template of the document."""
        if step.name not in self._contexts:
            self._contexts[step.name] = auto_context(self.document, step)
        return self._contexts[step.name]

    def keep(self, name: str, result: StepResult) -> None:
        self.results[name] = result
        self.views[name] = step_view(result)

    def info(self, position: str = "") -> RunInfo:
        record, command = self.record, self.record.command
        return RunInfo(
            run_id=record.run_id,
            pipeline=record.pipeline,
            digest=record.digest,
            domain=record.domain,
            purpose=command.purpose,
            tenant=command.tenant,
            seed=command.seed,
            depth=command.depth,
            position=position,
            preset=self.answers.preset,
            answer_tokens=self.answers.tokens,
            answer_seconds=self.answers.seconds,
        )

    def names(self) -> dict[str, Any]:
        """Names that templates of top-level steps see. Reserved names win over inputs of the same name."""
        document = self.document
        return {
            **self.inputs,
            "steps": dict(self.views),
            "vars": dict(self.variables),
            "run": self.info().model_dump(),
            "pipeline": {
                "name": document.name,
                "description": document.description,
                "domain": document.domain,
                "digest": self.record.digest,
            },
        }
