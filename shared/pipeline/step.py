"""The contract between a step type and whoever runs it.

A step type is one class in one file under `shared/pipeline/steps/`: its options, its static facts and its `run`. It does no I/O of
its own: everything outside goes through `StepContext`, so the same class runs in the executor, in tests and in library mode.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.clock import Clock
from shared.errors import Problem
from shared.events.values import Case, GraderSpec, Score, Usage
from shared.pipeline.batches import Answered
from shared.pipeline.breaker import CircuitBreaker
from shared.pipeline.completion import ChatMessage, Completion, CompletionRequest, Family, ToolSpec

REPLAYED = "replayed from a cassette: nothing of it was measured now"
"""Warning of every step whose model calls, or some of them, did not reach a model."""
StepStatus = Literal["ok", "degraded", "skipped", "failed"]
Want = Literal["pipelines", "pipeline", "choice"]
"""What a template is to give: a list of pipelines, one in any form, or the name of one of the step's candidates."""


class StepResult(BaseModel):
    """The envelope of LANGUAGE: what later steps see as `steps.<name>`."""

    model_config = ConfigDict(frozen=True)

    value: Any = None
    """Also readable as `result`, and as `results` where it is a list or a map of answers."""
    text: str = ""
    status: StepStatus = "ok"
    usage: Usage = Usage()
    latency_seconds: float = 0.0
    attempts: int = 1
    provider: str = ""
    model: str = ""
    cache_hit: bool = False
    warnings: tuple[str, ...] = ()
    error: str = ""
    error_code: str = ""
    selection: dict[str, Any] = Field(default_factory=dict)
    """How `claude_smart` chose: `{preset, family, model, max_tokens, temperature, reason}`."""


class RunInfo(BaseModel):
    """What a step may know about its run; visible to templates as `run`."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    pipeline: str
    digest: str
    domain: str
    purpose: str
    tenant: str = "default"
    seed: int = 0
    depth: int = 0
    position: str = ""
    """Absolute position of the step that runs, as `loop[3].classify`."""
    preset: str = "production"
    """Preset of `claude_smart` steps that name none: `development`, `production`, `analysis`, `chat` or `test`."""
    answer_tokens: int | None = None
    """Most tokens of an answer where neither step nor document says it; None: 512, or the preset's."""
    answer_seconds: float | None = None
    """How long one answer may take where neither step nor document says it; None: 60."""


class ModelRecord(BaseModel):
    """How one model has done so far in one domain."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    family: Family
    model: str
    calls: int = Field(ge=0)
    successes: int = Field(ge=0)
    latency_seconds: float = Field(default=0.0, ge=0)
    """Median of one call."""
    cost_usd: float = Field(default=0.0, ge=0)
    """Mean of one call."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.successes > self.calls:
            raise ValueError("there are more successes than calls")
        return self


class MeasuredModels(BaseModel):
    model_config = ConfigDict(frozen=True)

    records: tuple[ModelRecord, ...] = ()
    missing: str = ""
    """Why nothing can be said about what was measured; empty where it is known, if only that there is nothing."""


class RunLeft(BaseModel):
    """What the step may still use before a limit ends it or its run."""

    model_config = ConfigDict(frozen=True)

    seconds: float
    cost_usd: float


class ChildRun(BaseModel):
    """How a nested run ended: the fields of `RunFinished` that a parent needs."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    digest: str
    status: Literal["succeeded", "degraded", "failed", "refused", "cancelled"]
    outputs: Any = None
    error: str = ""
    error_code: str = ""
    usage: Usage = Usage()
    steps_executed: int = 0
    latency_seconds: float = 0.0


class ChildSpec(BaseModel):
    """A nested run to start. Exactly one of `reference` and `document`."""

    model_config = ConfigDict(frozen=True)

    key: str
    """Stable within the step: makes the child's run id deterministic."""
    reference: str | None = None
    document: dict[str, Any] | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)


class Session(BaseModel):
    """A conversation's stored transcript; `version` guards it against two writers."""

    model_config = ConfigDict(frozen=True)

    name: str
    summary: str = ""
    messages: tuple[ChatMessage, ...] = ()
    version: int = 0
    last_exchange: str = ""
    """Run and position that wrote the last two messages: a resumed step finds its own answer instead of asking again."""


class StepContext(Protocol):
    """What the executor offers to a running step. Every call holds the run's limits and may raise `LimitReachedError`."""

    @property
    def run(self) -> RunInfo: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def random(self) -> random.Random:
        """Seeded by run seed and position: the same on a resume."""
        ...

    @property
    def names(self) -> Mapping[str, Any]:
        """Names that templates see here: inputs, `steps`, `loop`, `run`, `pipeline`, and `vars` as they are at this moment, those
        that inner steps have set included."""
        ...

    @property
    def workspace(self) -> Path:
        """The run's own folder for `file_ops`; created on first use."""
        ...

    def render(self, template: Any) -> Any:
        """Evaluates a template, or every template inside a map or list. One whole expression keeps its native type."""
        ...

    def render_prompt(self, template: str) -> str:
        """Renders a prompt: structured values as JSON, inserted data delimited from instructions."""
        ...

    def set_variable(self, name: str, value: Any) -> None:
        """Makes `vars.<name>` visible to later steps; journaled with the step."""
        ...

    def context_section(self, template: str) -> str:
        """The delimited section of `context: auto` for one prompt of this step: the previous value and the inputs that
        nothing else refers to, where that prompt refers to nothing; empty otherwise (see `shared.pipeline.dataflow`)."""
        ...

    def breaker(self, key: str) -> CircuitBreaker:
        """The circuit breaker of `<family>:<model>`, shared by all runs of this process."""
        ...

    @property
    def left(self) -> RunLeft: ...

    async def model_records(self) -> MeasuredModels:
        """How models have done in the run's domain."""
        ...

    async def complete(self, request: CompletionRequest) -> Completion:
        """One attempt at a model, counted and bounded by the run's limits and the step's deadline."""
        ...

    async def complete_batch(self, requests: Sequence[CompletionRequest], poll_seconds: float) -> Sequence[Answered]:
        """What came of each request, in their order, through the provider's batch interface; the step's time-out included.

        Executed again, the step finds the batch that it submitted before. Long waits give the run's place away, so nothing that
        the step did before is remembered. One batch a step; the requests must come out the same each time."""
        ...

    async def cached_answer(self, request: CompletionRequest) -> Completion | None:
        """A former complete answer to the same canonical request, from any run, or None."""
        ...

    async def call_function(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """One entry of the function catalogue, with validated arguments."""
        ...

    async def compute(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """A step's own computation (`data_transform`), apart from this process, under the run's `cpu_seconds` and `memory_mb`."""
        ...

    def function_spec(self, name: str) -> ToolSpec: ...

    async def run_children(self, children: Sequence[ChildSpec], max_parallel: int) -> Sequence[ChildRun]:
        """Nested runs over the bus, in the order of `children`; the same child again returns the finished run."""
        ...

    def score(self, grader: GraderSpec | None, cases: Sequence[Case], runs: Sequence[ChildRun]) -> Score:
        """Grades `runs[i]` against `cases[i]`; a run that did not succeed is a failure. None infers the grader from the cases."""
        ...

    async def run_steps(self, steps: Sequence[Any], scope: str, names: Mapping[str, Any]) -> Mapping[str, StepResult]:
        """Runs inner steps of a loop or switch at the absolute position `<scope>.<name>`, journaled as any other, with more names.

        Members of `steps` in `names` are added to the steps that are visible anyway. Ends with the first step that failed for
        good, whose result is the last one; it does not raise for it. Raises `LimitReachedError`, `FencedError`, cancellation."""
        ...

    async def load_session(self, name: str) -> Session: ...
    async def save_session(self, session: Session) -> Session:
        """Raises `FencedError` if another writer was faster (`version` differs from the stored one)."""
        ...

    async def propose_change(self, change: Mapping[str, Any], wait_seconds: float) -> Mapping[str, Any]:
        """Proposes to the guardrail; returns `{change_id, decision, rollout_id}`, decision `pending` after `wait_seconds`."""
        ...


class StepType(Protocol):
    """A class in the registry. `options` are the type's own keys; common keys live on `shared.pipeline.document.Step`."""

    type_names: ClassVar[tuple[str, ...]]
    options: ClassVar[type[BaseModel]]
    families: ClassVar[tuple[str, ...]]
    """Providers that it may call: part of what scopes and policies allow."""
    requires_prompt: ClassVar[bool]
    requires_schema: ClassVar[bool]
    answers_schema: ClassVar[bool]
    """Its value is the object of the step's `schema`, so a schema may be inferred for it."""
    answers_many: ClassVar[bool]
    """Its value is a list or map of envelopes, each with an object of the step's `schema`."""
    value_fields: ClassVar[tuple[str, ...]]
    """Fields that its value always has, where it is a map of the type's own."""
    owns_retry: ClassVar[bool]
    """It applies the step's `retry` itself; nobody retries around it."""

    def templates(self, options: Any) -> tuple[tuple[str, Any], ...]:
        """(path, template) of every template in the options, for checks and dataflow edges."""
        ...

    def inner_steps(self, options: Any) -> tuple[Any, ...]:
        """Steps nested in the options (loops, switches)."""
        ...

    def repeats(self, options: Any) -> int:
        """Upper bound of how often the inner steps run in one execution."""
        ...

    def functions(self, options: Any) -> tuple[str, ...]:
        """Names of catalogue functions that it may call."""
        ...

    def nested(self, options: Any) -> tuple[Any, ...]:
        """References (text) and inline documents (maps) that it runs as nested runs; templates are left out."""
        ...

    def wants(self, options: Any) -> tuple[tuple[str, Want], ...]:
        """Templates in the options that are to give pipelines or a choice: models that they read are asked for just that where
        their steps declare no schema."""
        ...

    def compares(self, options: Any) -> Any:
        """The pipelines, or the template that gives them, of a step that measures several; else None."""
        ...

    def told_candidates(self, options: Any, candidates: Any) -> Any:
        """The options with the pipelines among which its choice was made, where it takes some and has none."""
        ...

    def max_calls(self, options: Any) -> int:
        """Upper bound of its own provider calls in one execution; inner steps, nested runs and retries are not counted."""
        ...

    def problems(self, step: Any) -> tuple[Problem, ...]:
        """What is wrong with a step that its options alone cannot show; paths are relative to the step."""
        ...

    async def run(self, step: Any, options: Any, context: StepContext) -> StepResult: ...
