"""Several prompts of one step: the shapes they are written in, and asking them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shared.errors import (
    EvolineError,
    InvalidInputError,
    LimitReachedError,
    OutOfScopeError,
    PermanentError,
    ProviderError,
    StepLimitError,
)
from shared.events.values import Usage
from shared.pipeline.batches import Answered
from shared.pipeline.completion import Completion, CompletionRequest
from shared.pipeline.document import Count, Number, Schema, Step
from shared.pipeline.step import StepContext, StepResult, StepStatus
from shared.pipeline.steps.answers import Tally, build_request, read_answer
from shared.pipeline.steps.base import Options
from shared.pipeline.steps.bounded import gather_bounded

TaskId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Task(Options):
    """One prompt; what it does not say itself is as in the step."""

    prompt: str = Field(min_length=1)
    system: str | None = None
    output_schema: Schema | None = Field(default=None, alias="schema")
    model: str | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    max_tokens: Count | None = Field(default=None, ge=1, le=1_000_000)
    timeout_seconds: Number | None = Field(default=None, gt=0, le=86_400)
    on_error: Literal["continue", "fail"] = "continue"
    """`fail`: the step fails with this task, whatever the others do."""
    is_rendered: ClassVar[bool] = False

    def of(self, step: Step, timeout_seconds: float | None) -> Step:
        """The step as if it asked this task alone; `timeout_seconds` is that of tasks that name none."""
        own = {name: getattr(self, name) for name in _OF_TASK if getattr(self, name) is not None}
        timeout = self.timeout_seconds or timeout_seconds or step.timeout_seconds
        return step.model_copy(update={"prompt": self.prompt, "timeout_seconds": timeout, **own})


class RenderedTask(Task):
    """Its prompt came out of another step: data, never a template."""

    is_rendered: ClassVar[bool] = True


_OF_TASK = ("system", "output_schema", "model", "temperature", "max_tokens")


def as_task(value: Any) -> Any:
    return {"prompt": value} if isinstance(value, str) else value


class FanOut(Options):
    """How many at once, how long each, how many must succeed."""

    max_parallel: int = Field(default=3, ge=1, le=64)
    task_timeout_seconds: Number | None = Field(default=None, gt=0, le=86_400)
    """Of every task that names none of its own."""
    min_success: int | None = Field(default=None, ge=0)
    """Fewer good answers fail the step; None: all must be good."""


async def ask_tasks(step: Step, tasks: Sequence[Task], options: FanOut, context: StepContext) -> list[StepResult]:
    """Envelopes in the order of `tasks`. A failed task is an envelope with status `failed`; limits and cancellation are raised."""
    asks = [partial(_ask, task.of(step, options.task_timeout_seconds), task.is_rendered, context) for task in tasks]
    return await gather_bounded(asks, options.max_parallel)


async def ask_as_batch(step: Step, tasks: Sequence[Task], poll_seconds: float, context: StepContext) -> list[StepResult]:
    """As `ask_tasks`, through the provider's batch interface. A prompt that cannot be made fails alone, and is not submitted."""
    results: dict[int, StepResult] = {}
    requests: dict[int, CompletionRequest] = {}
    for number, task in enumerate(tasks):
        try:
            requests[number] = build_request(task.of(step, None), context, "claude", is_rendered=task.is_rendered)
        except PermanentError as error:
            results[number] = _failed(Tally(context), error)
    answers = await context.complete_batch(list(requests.values()), poll_seconds) if requests else ()
    for (number, request), answer in zip(requests.items(), answers, strict=True):
        results[number] = _told(answer, request, context)
    return [results[number] for number in range(len(tasks))]


def _told(answer: Answered, request: CompletionRequest, context: StepContext) -> StepResult:
    tally = Tally(context, attempts=1)
    try:
        if not isinstance(answer, Completion):
            raise answer
        tally.usage = answer.usage
        result = tally.result(read_answer(answer, request.json_schema))
        return result.model_copy(update={"latency_seconds": answer.latency_seconds})
    except (PermanentError, ProviderError) as error:
        return _failed(tally, error)


async def _ask(step: Step, is_rendered: bool, context: StepContext) -> StepResult:
    tally = Tally(context)
    try:
        async with asyncio.timeout(step.timeout_seconds):
            request = build_request(step, context, "claude", is_rendered=is_rendered)
            return tally.result(await tally.ask(request, use_cache=step.cache))
    except (LimitReachedError, OutOfScopeError):
        raise
    except TimeoutError:
        return _failed(tally, ProviderError("timeout", f"no answer within {step.timeout_seconds} s"))
    except (PermanentError, ProviderError) as error:
        return _failed(tally, error)


def _failed(tally: Tally, error: EvolineError) -> StepResult:
    return StepResult(
        status="failed",
        error=str(error),
        error_code=error.code,
        usage=tally.usage,
        attempts=tally.attempts,
        latency_seconds=tally.elapsed_seconds,
    )


def joined(value: Any, results: Mapping[str, StepResult], tasks: Mapping[str, Task], options: FanOut, tally: Tally) -> StepResult:
    """The step's own envelope: `value` as given, counts summed, status by `min_success` and by each task's `on_error`."""
    failed = [f"{name}: {result.error}" for name, result in results.items() if result.status == "failed"]
    needed = len(results) if options.min_success is None else options.min_success
    fatal = [name for name, result in results.items() if result.status == "failed" and tasks[name].on_error == "fail"]
    too_few = len(results) - len(failed) < needed
    status: StepStatus = "failed" if fatal or too_few else "degraded" if failed else "ok"
    served = [result for result in results.values() if result.status != "failed"]
    return StepResult(
        value=value,
        text="\n\n".join(result.text for result in served),
        status=status,
        usage=sum((result.usage for result in results.values()), Usage()),
        latency_seconds=tally.elapsed_seconds,
        attempts=sum(result.attempts for result in results.values()),
        provider=_common([result.provider for result in served]),
        model=_common([result.model for result in served]),
        cache_hit=bool(served) and all(result.cache_hit for result in served),
        warnings=tuple(failed) if status != "failed" else (),
        error=f"{len(failed)} of {len(results)} tasks failed: {'; '.join(failed)}"[:2000] if status == "failed" else "",
        error_code=next(result.error_code for result in results.values() if result.status == "failed")
        if status == "failed"
        else "",
    )


def _common(names: list[str]) -> str:
    return names[0] if names and len(set(names)) == 1 else ""


def rendered_tasks(step: Step, template: str, most: int, context: StepContext) -> tuple[Task, ...]:
    """Prompts that a template gives: a list of texts. What it gives is data, so nothing in it is rendered again."""
    prompts = context.render(template)
    if not isinstance(prompts, list) or not prompts or not all(isinstance(each, str) and each.strip() for each in prompts):
        raise InvalidInputError(f"step `{step.name}`: `{template}` must give a list of texts")
    if len(prompts) > most:
        raise StepLimitError("max_tasks", f"step `{step.name}`: {len(prompts)} prompts, but max_tasks is {most}")
    return tuple(RenderedTask(prompt=each) for each in prompts)
