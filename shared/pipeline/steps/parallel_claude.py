"""`parallel_claude`: named tasks side by side, answers by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from shared.errors import Problem
from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType
from shared.pipeline.steps.tasks import FanOut, Task, TaskId, ask_tasks, joined

MAX_TASKS = 100


class NamedTask(Task):
    """Without a prompt, the step's own prompt is asked for the task that the name says."""

    prompt: str = ""


def _normalised(value: Any) -> Any:
    """One form for all: map of id to map. Accepts a list of single-key maps, a list of maps with `id`, a list of ids, a map."""
    if isinstance(value, Mapping):
        return {name: _one(task) for name, task in value.items()}
    if not isinstance(value, list | tuple):
        return value
    tasks: dict[str, Any] = {}
    for each in value:
        name, task = _named(each)
        if name in tasks:
            raise ValueError(f"two tasks are called `{name}`")
        tasks[name] = task
    return tasks


def _named(value: Any) -> tuple[str, Any]:
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and ("id" in value or "name" in value) and "prompt" in value:
        key = "id" if "id" in value else "name"
        return str(value[key]), {name: field for name, field in value.items() if name != key}
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, task),) = value.items()
        return str(name), _one(task)
    raise ValueError(f"a task is an id, or a map of one id to its prompt, not {value!r}")


def _one(task: Any) -> Any:
    return {} if task is None else {"prompt": task} if isinstance(task, str) else task


class ParallelClaudeOptions(FanOut):
    tasks: Annotated[dict[TaskId, NamedTask], BeforeValidator(_normalised)] = Field(min_length=1, max_length=MAX_TASKS)

    @model_validator(mode="after")
    def _reachable(self) -> ParallelClaudeOptions:
        if self.min_success is not None and self.min_success > len(self.tasks):
            raise ValueError(f"min_success {self.min_success} of {len(self.tasks)} tasks")
        return self


class ParallelClaudeStep(BaseStepType):
    """Value: a map of task id to envelope."""

    type_names = ("parallel_claude",)
    options = ParallelClaudeOptions
    families = ("claude",)
    answers_many = True

    @staticmethod
    def max_calls(options: Any) -> int:
        return len(options.tasks)

    def problems(self, step: Step) -> tuple[Problem, ...]:
        if not isinstance(step.options, ParallelClaudeOptions):
            return ()
        bare = [name for name, task in step.options.tasks.items() if not task.prompt.strip()]
        if not bare or (step.prompt or "").strip():
            return ()
        suggestion = "give each task a prompt, or the step one that all of them share"
        return (Problem(path="tasks", reason=f"no prompt for {', '.join(bare)}", suggestion=suggestion),)

    async def run(self, step: Step, options: ParallelClaudeOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        tasks = {name: _with_prompt(name, task, step) for name, task in options.tasks.items()}
        results = dict(zip(tasks, await ask_tasks(step, [*tasks.values()], options, context), strict=True))
        value = {name: result.model_dump(mode="json") for name, result in results.items()}
        return joined(value, results, tasks, options, tally)


def _with_prompt(name: str, task: Task, step: Step) -> Task:
    if task.prompt.strip():
        return task
    return task.model_copy(update={"prompt": f"{step.prompt or ''}\n\nTask: {name.replace('_', ' ')}".strip()})
