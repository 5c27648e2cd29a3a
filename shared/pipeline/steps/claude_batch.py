"""`claude_batch`: several prompts side by side, answers in the order of the prompts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from shared.errors import Problem
from shared.pipeline.document import Number, Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType
from shared.pipeline.steps.tasks import FanOut, Task, as_task, ask_as_batch, ask_tasks, joined, rendered_tasks

MAX_TASKS = 100


def _listed(value: Any) -> Any:
    return [as_task(each) for each in value] if isinstance(value, list | tuple) else value


Prompts = Annotated[tuple[Task, ...] | str, BeforeValidator(_listed)]


class ClaudeBatchOptions(FanOut):
    prompts: Prompts = ()
    """Texts or maps with a `prompt`, or one template that gives a list of texts."""
    tasks: Prompts = ()
    """Another word for `prompts`."""
    mode: Literal["parallel", "message_batches"] = "parallel"
    """`message_batches`: through the provider's batch interface, at its price; it may take hours. Give the run
    time enough (`limits.seconds`). `timeout_seconds` of the step counts from the submission."""
    poll_seconds: Number = Field(default=30.0, gt=0, le=3600)
    """Of `message_batches`: between looks at the batch; longer ones the older it is."""
    max_tasks: int = Field(default=20, ge=1, le=MAX_TASKS)
    """Upper bound where a template gives the prompts."""

    @model_validator(mode="after")
    def _one_list(self) -> ClaudeBatchOptions:
        if bool(self.prompts) == bool(self.tasks):
            raise ValueError("give either `prompts` or `tasks`, with at least one member")
        if len(self.asked) > MAX_TASKS and not isinstance(self.asked, str):
            raise ValueError(f"at most {MAX_TASKS} prompts, not {len(self.asked)}")
        return self

    @property
    def asked(self) -> tuple[Task, ...] | str:
        return self.prompts or self.tasks


class ClaudeBatchStep(BaseStepType):
    """Value: a list of envelopes."""

    type_names = ("claude_batch",)
    options = ClaudeBatchOptions
    families = ("claude",)
    answers_many = True

    @staticmethod
    def max_calls(options: Any) -> int:
        return int(options.max_tasks) if isinstance(options.asked, str) else len(options.asked)

    def problems(self, step: Step) -> tuple[Problem, ...]:
        return (*self._count_problems(step), *_mode_problems(step))

    def _count_problems(self, step: Step) -> tuple[Problem, ...]:
        options = step.options
        if not isinstance(options, ClaudeBatchOptions) or isinstance(options.asked, str):
            return super().problems(step)
        if (options.min_success or 0) > len(options.asked):
            return (Problem(path="min_success", reason=f"min_success {options.min_success} of {len(options.asked)} prompts"),)
        return super().problems(step)

    async def run(self, step: Step, options: ClaudeBatchOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        asked = options.asked
        tasks = rendered_tasks(step, asked, options.max_tasks, context) if isinstance(asked, str) else asked
        if options.mode == "message_batches":
            results = await ask_as_batch(step, tasks, options.poll_seconds, context)
        else:
            results = await ask_tasks(step, tasks, options, context)
        named = {str(index): result for index, result in enumerate(results)}
        value = [result.model_dump(mode="json") for result in results]
        return joined(value, named, {str(index): task for index, task in enumerate(tasks)}, options, tally)


def uses_message_batches(step: Step) -> bool:
    return isinstance(step.options, ClaudeBatchOptions) and step.options.mode == "message_batches"


def _mode_problems(step: Step) -> tuple[Problem, ...]:
    """What a batch cannot do for a step."""
    options = step.options
    if not isinstance(options, ClaudeBatchOptions) or not uses_message_batches(step):
        return ()
    tasks = () if isinstance(options.asked, str) else options.asked
    wrong = {
        "cache": step.cache,
        "task_timeout_seconds": options.task_timeout_seconds is not None,
        "timeout_seconds": any(task.timeout_seconds is not None for task in tasks),
    }
    advice = {"cache": "leave it out, or use `mode: parallel`"}
    default = "give the step one `timeout_seconds`, which bounds the whole batch"
    return tuple(
        Problem(
            path=path,
            reason=f"`{path}` of single prompts has no meaning in mode message_batches",
            suggestion=advice.get(path, default),
        )
        for path, is_wrong in wrong.items()
        if is_wrong
    )
