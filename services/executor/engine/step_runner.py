"""One step: condition, attempts, time-out, fallback, journal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic_core import PydanticSerializationError, to_json

from services.executor.domain.control import SuspendRun, Suspension
from services.executor.domain.outcome import error_code, error_text
from services.executor.domain.records import LOCAL_SEQUENCE, JournalEntry, RunFencedError, StoreUnavailableError
from services.executor.domain.retry import wait_seconds
from services.executor.engine.context import RunContext
from services.executor.engine.run_journal import NOTHING_SPENT, FinishedStep, Spent
from services.executor.engine.run_state import RunState
from services.executor.engine.services import StepServices
from shared.errors import EvolineError, InvalidInputError, LimitReachedError, PermanentError, ProviderError, StepLimitError
from shared.events.values import Usage
from shared.large_values import MAX_VALUE_BYTES
from shared.pipeline.document import Fallback, Step
from shared.pipeline.step import REPLAYED, StepResult, StepType
from shared.pipeline.templates import evaluate_condition


@dataclass(frozen=True)
class Execution:
    """What came of a step before it is journaled."""

    result: StepResult
    spent: Spent = NOTHING_SPENT
    variables: Mapping[str, Any] | None = None
    limit: LimitReachedError | None = None
    """A limit of the run was reached: the run ends, whatever `on_error` says."""

    @property
    def failed(self) -> bool:
        return self.result.status == "failed"


class StepRunner:
    """Runs the steps of one run. A step whose end is in the journal is not executed again."""

    def __init__(self, state: RunState, services: StepServices) -> None:
        self.state = state
        self.services = services

    async def run(self, step: Step, path: str, names: Mapping[str, Any]) -> StepResult:
        """The step's result, on disk. Raises `LimitReachedError` where a limit of the run ends it, and `RunFencedError`."""
        entry = self.state.journal.finished(path)
        if entry is None:
            self.state.check_held()
            execution = await self._executed(self.state.document.effective(step), path, names)
            entry = await self._append(
                FinishedStep(
                    path=path,
                    type=step.type,
                    result=execution.result,
                    usage=execution.spent.usage,
                    models=execution.spent.models,
                    nested_steps=execution.spent.nested_steps,
                    variables=dict(execution.variables or {}),
                    ends_run=execution.limit is not None,
                )
            )
            for due in self.state.take_due(path):
                await self.services.completions.settle(self.state, *due)
            self.services.observer.step(step.type, execution.result.status, execution.result.latency_seconds)
        assert entry.result is not None
        self.state.variables.update(entry.variables)
        if entry.ends_run:
            limit = entry.result.error_code.partition(":")[2]
            raise LimitReachedError(limit, entry.result.error)
        return entry.result

    async def _append(self, finished: FinishedStep) -> JournalEntry:
        try:
            return await self.state.journal.append(finished)
        except PermanentError:
            self.state.time.end()
            raise

    def kind(self, step: Step) -> StepType:
        return self.services.step_type(step.type)

    def variables_over(self, own: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.state.variables, **own}

    async def _executed(self, step: Step, path: str, names: Mapping[str, Any]) -> Execution:
        try:
            if step.when is not None and not evaluate_condition(step.when, names):
                return Execution(StepResult(status="skipped"))
            self.state.meter.start_step()
            if self.state.shared.ids:
                await self.state.shared.take_step()
        except LimitReachedError as error:
            return _failure(error, 0.0, limit=error)
        except InvalidInputError as error:
            return _failure(error, 0.0)
        try:
            execution = await self._attempted(step, path, names)
        except SuspendRun:
            # It is taken anew when the run goes on.
            await self.state.shared.give_step_back()
            raise
        if execution.failed and execution.limit is None and isinstance(step.on_error, Fallback):
            return await self._fallen_back(step.on_error.fallback, path, names, execution)
        return execution

    async def _fallen_back(self, fallback: Step, path: str, names: Mapping[str, Any], first: Execution) -> Execution:
        """The fallback's answer in the step's place; it is degraded, because it is not what was asked for."""
        second = await self._attempted(self.state.document.effective(fallback), f"{path}.{fallback.name}", names)
        spent = first.spent + second.spent
        warnings = tuple(dict.fromkeys((*first.result.warnings, *second.result.warnings)))
        if second.failed:
            return Execution(second.result.model_copy(update={"warnings": warnings}), spent, limit=second.limit)
        warning = f"fallback {fallback.name} after: {first.result.error}"
        result = second.result.model_copy(update={"status": "degraded", "warnings": (warning, *warnings)})
        return Execution(result, spent, second.variables)

    async def _attempted(self, step: Step, path: str, names: Mapping[str, Any]) -> Execution:
        clock, (attempt, spent) = self.services.clock, await self._first_attempt(path)
        started = clock.monotonic()
        while True:
            context = RunContext(self, step, path, names)
            try:
                result = await self._timed(step, context)
                spent += context.spent(is_success=result.status == "ok")
                elapsed = clock.monotonic() - started
                attempts = max(attempt, result.attempts)
                warnings = (*result.warnings, *_marks(context))
                update = {
                    "warnings": warnings,
                    "latency_seconds": elapsed,
                    "attempts": attempts,
                    "usage": _reported(result.usage, spent.usage),
                }
                return Execution(result.model_copy(update=update), spent, context.variables)
            except (RunFencedError, StoreUnavailableError, SuspendRun, asyncio.CancelledError):
                raise
            except Exception as error:
                spent += context.spent(is_success=False)
                wait = wait_seconds(step.retry, error, attempt, context.random) if not self.kind(step).owns_retry else None
                if wait is None:
                    limit = error if isinstance(error, LimitReachedError) else None
                    failed = _failure(error, clock.monotonic() - started, attempts=attempt, spent=spent, limit=limit)
                    return replace(failed, result=failed.result.model_copy(update={"warnings": _marks(context)}))
            await self._wait(wait, path, attempt, spent)
            attempt += 1

    async def _first_attempt(self, path: str) -> tuple[int, Spent]:
        """1, or where the attempts go on that were made before the run gave its place away. What they used is counted there; which
        models they called is told with the step."""
        waited = self.state.journal.waited(path)
        if waited is None or waited.until is None:
            return 1, NOTHING_SPENT
        left = (waited.until - self.services.clock.now()).total_seconds()
        if left > 0:
            if self.may_park(path, left):
                raise _parked(path, waited.attempts, waited.until)
            await self.services.clock.sleep(left)
        return waited.attempts + 1, Spent(models=waited.models)

    async def _wait(self, seconds: float, path: str, attempt: int, spent: Spent) -> None:
        """A long wait holds no place: the run is suspended, and goes on by a timer of the broker."""
        if not self.may_park(path, seconds):
            await self.services.clock.sleep(seconds)
            return
        until = self.services.clock.now() + timedelta(seconds=seconds)
        await self.state.journal.wait(path, attempt, spent, until)
        raise _parked(path, attempt, until)

    def may_park(self, path: str, seconds: float) -> bool:
        """Beside a step inside another one, or in a dataflow, others may be at work; a run inside another one has no command of
        its own."""
        state = self.state
        alone = path in {step.name for step in state.document.steps} and state.document.execution == "sequential"
        in_time = self.services.clock.monotonic() + seconds < state.deadline
        return alone and in_time and state.record.command_sequence != LOCAL_SEQUENCE and seconds > self.services.park_after_seconds

    async def _timed(self, step: Step, context: RunContext) -> StepResult:
        """One attempt, cut off at the step's time-out; its value as the journal will give it back."""
        try:
            async with asyncio.timeout(step.timeout_seconds) as timer:
                context.timer = timer
                result = await self.kind(step).run(step, step.options, context)
        except TimeoutError as error:
            if not timer.expired():
                raise
            reason = f"step {step.name} took longer than {step.timeout_seconds:g} s: raise its `timeout_seconds`, or ask for less"
            raise ProviderError("timeout", reason) from error
        return _journaled(step, result)


def _parked(path: str, attempts: int, until: datetime) -> SuspendRun:
    return SuspendRun(Suspension("waiting", f"step {path} is attempted again after {attempts} failed", until=until))


def _marks(context: RunContext) -> tuple[str, ...]:
    return (REPLAYED,) if context.is_replayed else ()


def _journaled(step: Step, result: StepResult) -> StepResult:
    try:
        written = result.model_dump_json()
    except PydanticSerializationError as error:
        raise InvalidInputError(f"step {step.name} gave a value that is not JSON: {error}") from error
    if (len(written) if written.isascii() else len(written.encode())) > MAX_VALUE_BYTES:
        _check_sizes(step, result)
    return StepResult.model_validate_json(written)


def _check_sizes(step: Step, result: StepResult) -> None:
    """The value and its text, each for itself."""
    parts = [result.value] if result.value == result.text else [result.value, result.text]
    size = max(len(to_json(part, inf_nan_mode="null")) for part in parts)
    if size > MAX_VALUE_BYTES:
        reason = f"step {step.name} gave {size:,} bytes as JSON, {MAX_VALUE_BYTES:,} is the most: give back less, or write a file"
        raise StepLimitError("value_bytes", reason)


def _reported(said: Usage, counted: Usage) -> Usage:
    """A step type that nests runs or steps says what those used; others are counted here."""
    return said if said.calls or said.input_tokens else counted


def _failure(
    error: Exception, seconds: float, *, attempts: int = 1, spent: Spent = NOTHING_SPENT, limit: LimitReachedError | None = None
) -> Execution:
    if not isinstance(error, EvolineError):
        structlog.get_logger("services.executor").error("step raised an unexpected error", exc_info=error)
    result = StepResult(
        status="failed",
        error=error_text(error),
        error_code=error_code(error),
        latency_seconds=seconds,
        attempts=attempts,
        usage=spent.usage,
    )
    return Execution(result, spent, limit=limit)
