"""What a running step may do: `shared.pipeline.step.StepContext` on the executor's services."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.executor.domain.model_uses import answered, settled, unanswered
from services.executor.engine.batches import BatchStep
from services.executor.engine.children import Parent
from services.executor.engine.patience import patiently
from services.executor.engine.run_journal import Spent
from services.executor.engine.run_state import RunState
from services.executor.engine.services import StepServices
from services.executor.ports import Allowance
from shared.clock import Clock
from shared.errors import InvalidInputError, ProviderError, ProviderRefusedError
from shared.events.changes import ProposeChange
from shared.events.message import derive_id
from shared.events.runs import ModelUse
from shared.events.values import Case, GraderSpec, Score, Usage
from shared.evidence.graders import grade, grader_hash, infer_grader
from shared.evidence.scores import score
from shared.pipeline.batches import Answered
from shared.pipeline.breaker import CircuitBreaker
from shared.pipeline.completion import Completion, CompletionRequest, ToolSpec
from shared.pipeline.dataflow import context_section, refers_to_nothing
from shared.pipeline.document import Step
from shared.pipeline.names import step_view
from shared.pipeline.step import ChildRun, ChildSpec, MeasuredModels, RunInfo, RunLeft, Session, StepResult
from shared.pipeline.templates import render, render_prompt

if TYPE_CHECKING:
    from services.executor.engine.step_runner import StepRunner


class RunContext:
    """One execution of one step. `usage`, `nested_steps` and `variables` are what it used, nested and set so far."""

    def __init__(self, runner: StepRunner, step: Step, position: str, names: Mapping[str, Any]) -> None:
        self._runner = runner
        self._state: RunState = runner.state
        self._services: StepServices = runner.services
        self._step = step
        self._position = position
        self._names = {**names, "run": self._state.info(position).model_dump()}
        self.usage = Usage()
        self._models: list[ModelUse] = []
        self.nested_steps = 0
        self.variables: dict[str, Any] = {}
        self._has_replayed = False
        self.timer: asyncio.Timeout | None = None
        """Cuts off the present attempt."""

    @property
    def run(self) -> RunInfo:
        return self._state.info(self._position)

    @property
    def is_replayed(self) -> bool:
        """Calls of nested runs, and those that failed, do not tell it themselves."""
        return self._has_replayed or (self._services.replays and self.usage.calls > 0)

    @property
    def clock(self) -> Clock:
        return self._services.clock

    @property
    def random(self) -> random.Random:
        return random.Random(f"{self._state.record.command.seed}:{self._position}")  # noqa: S311  repeatable, guards nothing

    @property
    def names(self) -> Mapping[str, Any]:
        # Inner steps of a loop set variables while it runs: its condition must see them.
        return {**self._names, "vars": self._runner.variables_over(self.variables)}

    @property
    def workspace(self) -> Path:
        folder = self._services.workspace_dir / self._state.record.run_id
        folder.mkdir(parents=True, exist_ok=True)
        self._state.has_workspace = True
        return folder

    def render(self, template: Any) -> Any:
        return render(template, self._names)

    def render_prompt(self, template: str) -> str:
        return render_prompt(template, self._names)

    def context_section(self, template: str) -> str:
        if self._step.context == "none" or not refers_to_nothing(template):
            return ""
        return context_section(self._state.auto_context(self._step), self._names)

    def set_variable(self, name: str, value: Any) -> None:
        self.variables[name] = value
        self._names["vars"] = {**self._names.get("vars", {}), name: value}

    def breaker(self, key: str) -> CircuitBreaker:
        if self._state.record.command.faults is None:
            return self._services.breakers.get(key)
        return self._state.own_breakers.setdefault(key, CircuitBreaker(self.clock))

    @property
    def left(self) -> RunLeft:
        state = self._state
        seconds = max(0.0, state.deadline - self.clock.monotonic())
        return RunLeft(seconds=min(seconds, self._step.timeout_seconds or seconds), cost_usd=state.meter.cost_left_usd)

    async def model_records(self) -> MeasuredModels:
        return await self._services.model_records.of_domain(self._state.record.domain)

    async def complete(self, request: CompletionRequest) -> Completion:
        self._state.check_held()
        keep = self._step.cache or self._runner.kind(self._step).owns_retry
        started = self.clock.monotonic()
        call = _Call(self)
        try:
            completion = await self._services.completions.complete(self._state, request, call.charge, keep=keep)
        except (ProviderError, ProviderRefusedError, asyncio.CancelledError) as error:
            # Whatever else cuts a call off says nothing about the model.
            if call.was_made and (not isinstance(error, asyncio.CancelledError) or self._is_late):
                self._note_failed(request, started)
            raise
        self._has_replayed |= completion.replayed
        self._models.append(answered(request, completion))
        return completion

    def spent(self, *, is_success: bool) -> Spent:
        """`is_success`: the attempt gave what was asked for."""
        return Spent(self.usage, settled(self._models, is_success=is_success), self.nested_steps)

    def _note_failed(self, request: CompletionRequest, started: float) -> None:
        provider = self._services.providers.get(request.family, "")
        self._models.append(unanswered(request, provider, self.clock.monotonic() - started))

    async def complete_batch(self, requests: Sequence[CompletionRequest], poll_seconds: float) -> Sequence[Answered]:
        if self.timer is not None:
            # The time of the step counts from the submission, over parks and takeovers: whoever waits for the batch knows it.
            self.timer.reschedule(None)
        answers = await self._services.batches.complete(
            BatchStep(
                state=self._state,
                path=self._position,
                requests=requests,
                charge=self._charge,
                may_park=lambda seconds: self._runner.may_park(self._position, seconds),
                poll_seconds=poll_seconds,
                timeout_seconds=self._step.timeout_seconds,
            )
        )
        self._has_replayed |= any(isinstance(each, Completion) and each.replayed for each in answers)
        return answers

    async def cached_answer(self, request: CompletionRequest) -> Completion | None:
        completion = await self._services.completions.cached(self._state, request)
        self._has_replayed |= completion is not None and completion.replayed
        return completion

    async def call_function(self, name: str, arguments: Mapping[str, Any]) -> Any:
        return await self._services.functions.call(name, arguments, self._allowance)

    async def compute(self, name: str, arguments: Mapping[str, Any]) -> Any:
        return await self._services.functions.compute(name, arguments, self._allowance)

    @property
    def _allowance(self) -> Allowance:
        limits = self._state.meter.limits
        return Allowance(limits.cpu_seconds, limits.memory_mb)

    def function_spec(self, name: str) -> ToolSpec:
        return self._services.functions.spec(name)

    async def run_children(self, children: Sequence[ChildSpec], max_parallel: int) -> Sequence[ChildRun]:
        parent = Parent(self._state, self._position, self._is_over)
        runs = await self._services.children.run(parent, children, max_parallel)
        for run in runs:
            self.usage += run.usage
            self.nested_steps += run.steps_executed
        return runs

    def score(self, grader: GraderSpec | None, cases: Sequence[Case], runs: Sequence[ChildRun]) -> Score:
        spec = grader or infer_grader(cases)
        pairs = zip(cases, runs, strict=True)
        grades = [grade(spec, case.expected, run.outputs) if run.status == "succeeded" else None for case, run in pairs]
        return score(grades, grader_hash(spec))

    async def run_steps(self, steps: Sequence[Any], scope: str, names: Mapping[str, Any]) -> Mapping[str, StepResult]:
        outer = {**self._names.get("steps", {}), **names.get("steps", {})}
        results: dict[str, StepResult] = {}
        for step in steps:
            seen = {name: step_view(result) for name, result in results.items()}
            inner = {**self._names, **names, "steps": {**outer, **seen}, "vars": self._runner.variables_over(self.variables)}
            results[step.name] = await self._runner.run(step, f"{scope}.{step.name}", inner)
            if results[step.name].status == "failed" and step.on_error != "continue":
                break
        return results

    async def load_session(self, name: str) -> Session:
        return await patiently(lambda: self._services.conversations.load(name), self.clock)

    async def save_session(self, session: Session) -> Session:
        return await patiently(lambda: self._services.conversations.save(session), self.clock)

    async def propose_change(self, change: Mapping[str, Any], wait_seconds: float) -> Mapping[str, Any]:
        run = self.run
        own = {"change_id": derive_id(run.run_id, f"{self._position}:change"), "author": f"pipeline:{run.pipeline}"}
        proposal = {"domain": run.domain, "group_id": self._state.record.command.group_id or run.run_id, **change, **own}
        if not isinstance(proposal.get("document"), Mapping):
            raise InvalidInputError("a change needs the document that it proposes")
        proposed = ProposeChange.model_validate(proposal)
        return await patiently(lambda: self._services.proposals.propose(proposed, wait_seconds), self.clock)

    def _is_over(self) -> bool:
        return self._state.time.is_over or self._is_late

    @property
    def _is_late(self) -> bool:
        return self.timer is not None and self.timer.expired()

    def _charge(self, usage: Usage) -> None:
        self.usage += usage


class _Call:
    """Charged once it was made; one that only waited for its turn never is."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.was_made = False

    def charge(self, usage: Usage) -> None:
        self.was_made = True
        self.context.usage += usage
