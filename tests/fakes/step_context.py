"""A `StepContext` for unit tests: models answer from a script, time is a number, everything else is in memory."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.errors import EvolineError, FencedError, LimitReachedError, NotFoundError
from shared.events.values import Case, GraderSpec, Score, Usage
from shared.pipeline.batches import Answered
from shared.pipeline.breaker import CircuitBreaker
from shared.pipeline.completion import Completion, CompletionRequest, ToolCall, ToolSpec
from shared.pipeline.document import Step
from shared.pipeline.functions import call_pure, compute, function_catalogue
from shared.pipeline.names import step_view
from shared.pipeline.step import ChildRun, ChildSpec, MeasuredModels, ModelRecord, RunInfo, RunLeft, Session, StepResult
from shared.pipeline.steps import step_type
from shared.pipeline.templates import evaluate_condition, render, render_prompt

Reply = str | Completion | Exception | Callable[[CompletionRequest], "Reply"]
"""What a model does with one request: text, a whole completion, an error, or whatever a function makes of the request."""


class ManualClock:
    """Sleeping takes no time and moves the clock; `slept` keeps what was asked for."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


def completion(
    text: str = "", *, calls: Sequence[ToolCall] = (), stop: str = "", model: str = "fake-model", tokens: int = 5
) -> Completion:
    return Completion.model_validate(
        {
            "text": text,
            "tool_calls": tuple(calls),
            "stop": stop or ("tool_use" if calls else "end"),
            "usage": Usage(calls=1, input_tokens=10, output_tokens=tokens, cost_usd=0.001),
            "provider": "local",
            "model": model,
            "latency_seconds": 0.1,
        }
    )


class Load:
    """Calls in flight, shared by a context and those of its inner steps."""

    def __init__(self) -> None:
        self.running = 0
        self.most_at_once = 0

    def begin(self) -> None:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)


class ScriptedStepContext:
    """`replies` are taken in order; when they are used up, the last one is given again.

    Public attributes are what a test sets up before and looks at after."""

    def __init__(
        self, *replies: Reply, names: Mapping[str, Any] | None = None, workspace: Path = Path("unused"), **info: Any
    ) -> None:
        self.replies = list(replies)
        self.requests: list[CompletionRequest] = []
        self.load = Load()
        self.clock = ManualClock()
        self.random = random.Random(7)
        self.workspace = workspace
        self.run = RunInfo(**{"run_id": "r1", "pipeline": "p", "digest": "0" * 64, "domain": "d", "purpose": "production", **info})
        self.section = ""
        self.variables: dict[str, Any] = {}
        self.own_names = dict(names or {})
        self.breakers: dict[str, CircuitBreaker] = {}
        self.records: tuple[ModelRecord, ...] = ()
        self.records_missing = ""
        self.left = RunLeft(seconds=300.0, cost_usd=2.0)
        self.cached: Callable[[CompletionRequest], Completion | None] = lambda request: None
        self.functions: dict[str, Callable[..., Any]] = {}
        self.function_calls: list[tuple[str, dict[str, Any]]] = []
        self.children: list[ChildSpec] = []
        self.child: Callable[[ChildSpec], ChildRun] = lambda spec: ChildRun(run_id=spec.key, digest="c" * 64, status="succeeded")
        self.max_parallel_children = 0
        self.sessions: dict[str, Session] = {}
        self.proposals: list[tuple[dict[str, Any], float]] = []
        self.decision: dict[str, Any] = {"change_id": "ch1", "decision": "approved", "rollout_id": ""}
        self.positions: list[str] = []
        self.batches: list[tuple[tuple[CompletionRequest, ...], float]] = []

    @property
    def names(self) -> Mapping[str, Any]:
        return {"steps": {}, **self.own_names, "vars": self.variables, "run": self.run.model_dump()}

    def render(self, template: Any) -> Any:
        return render(template, self.names)

    def render_prompt(self, template: str) -> str:
        return render_prompt(template, self.names)

    def context_section(self, template: str) -> str:
        return self.section

    def set_variable(self, name: str, value: Any) -> None:
        self.variables[name] = value

    def breaker(self, key: str) -> CircuitBreaker:
        return self.breakers.setdefault(key, CircuitBreaker(self.clock))

    async def model_records(self) -> MeasuredModels:
        return MeasuredModels(records=self.records, missing=self.records_missing)

    async def complete(self, request: CompletionRequest) -> Completion:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self.load.begin()
        try:
            await asyncio.sleep(0)
            return _made(reply, request)
        finally:
            self.load.running -= 1

    async def complete_batch(self, requests: Sequence[CompletionRequest], poll_seconds: float) -> Sequence[Answered]:
        self.batches.append((tuple(requests), poll_seconds))
        answers: list[Answered] = []
        for request in requests:
            try:
                answers.append(await self.complete(request))
            except LimitReachedError:
                raise
            except EvolineError as error:
                answers.append(error)
        return answers

    async def cached_answer(self, request: CompletionRequest) -> Completion | None:
        return self.cached(request)

    async def call_function(self, name: str, arguments: Mapping[str, Any]) -> Any:
        self.function_calls.append((name, dict(arguments)))
        return self.functions[name](**arguments) if name in self.functions else call_pure(name, arguments)

    async def compute(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Through JSON, as to a process of its own and back."""
        return json.loads(json.dumps(compute(name, json.loads(json.dumps(arguments, allow_nan=False))), allow_nan=False))

    def function_spec(self, name: str) -> ToolSpec:
        if name not in function_catalogue():
            raise NotFoundError(f"no function `{name}`")
        spec = function_catalogue()[name]
        return ToolSpec(name=spec.name, description=spec.description, parameters=dict(spec.parameters))

    async def run_children(self, children: Sequence[ChildSpec], max_parallel: int) -> Sequence[ChildRun]:
        self.children.extend(children)
        self.max_parallel_children = max_parallel
        return [self.child(spec) for spec in children]

    def score(self, grader: GraderSpec | None, cases: Sequence[Case], runs: Sequence[ChildRun]) -> Score:
        """Exact match; enough to see which runs were graded against which cases."""
        pairs = list(zip(cases, runs, strict=True))
        mean = sum(run.status == "succeeded" and run.outputs == case.expected for case, run in pairs) / len(pairs)
        failures = sum(run.status != "succeeded" for _, run in pairs)
        return Score(mean=mean, low=0.0, high=1.0, cases=len(pairs), failures=failures, grader_hash=grader.kind if grader else "")

    async def run_steps(self, steps: Sequence[Step], scope: str, names: Mapping[str, Any]) -> Mapping[str, StepResult]:
        results: dict[str, StepResult] = {}
        for step in steps:
            seen = {name: step_view(result) for name, result in results.items()}
            inner = self._inner(
                f"{scope}.{step.name}", {**names, "steps": {**self.names["steps"], **names.get("steps", {}), **seen}}
            )
            results[step.name] = await _executed(step, inner)
            if results[step.name].status == "failed" and step.on_error != "continue":
                break
        return results

    def _inner(self, position: str, names: Mapping[str, Any]) -> ScriptedStepContext:
        self.positions.append(position)
        inner = ScriptedStepContext()
        inner.__dict__.update(self.__dict__)
        inner.own_names = {**self.own_names, **names}
        inner.run = self.run.model_copy(update={"position": position})
        return inner

    async def load_session(self, name: str) -> Session:
        return self.sessions.get(name, Session(name=name))

    async def save_session(self, session: Session) -> Session:
        stored = self.sessions.get(session.name, Session(name=session.name))
        if stored.version != session.version:
            raise FencedError(f"session {session.name} is at version {stored.version}")
        self.sessions[session.name] = session.model_copy(update={"version": session.version + 1})
        return self.sessions[session.name]

    async def propose_change(self, change: Mapping[str, Any], wait_seconds: float) -> Mapping[str, Any]:
        self.proposals.append((dict(change), wait_seconds))
        return self.decision


def _made(reply: Reply, request: CompletionRequest) -> Completion:
    while callable(reply):
        reply = reply(request)
    if isinstance(reply, Exception):
        raise reply
    return completion(reply) if isinstance(reply, str) else reply


async def _executed(step: Step, context: ScriptedStepContext) -> StepResult:
    if step.when is not None and not evaluate_condition(step.when, context.names):
        return StepResult(status="skipped")
    try:
        return await step_type(step.type).run(step, step.options, context)
    except LimitReachedError:
        raise
    except EvolineError as error:
        return StepResult(status="failed", error=str(error), error_code=error.code)


async def run_step(context: ScriptedStepContext, **keys: Any) -> StepResult:
    """Runs one step, written as in a document; `name` may be left out."""
    step = Step.model_validate({"name": "s", **keys})
    return await step_type(step.type).run(step, step.options, context)
