"""`while_loop`: inner steps again and again while a condition holds, at most so often."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options, templates_in
from shared.pipeline.steps.inner import InnerSteps, Round, position_of, run_round
from shared.pipeline.template_names import condition_facts
from shared.pipeline.templates import evaluate_condition


class WhileLoopOptions(Options):
    condition: str = Field(min_length=1)
    """Looked at before every round; where it reads the loop's own steps, after every round. Sees `vars`, the loop's steps as
    the last round left them, `loop.index` (rounds done so far) and `loop.previous` (value of the last round, null before)."""
    steps: InnerSteps
    max_iterations: int = Field(default=100, ge=1, le=10_000)


class WhileLoopStep(BaseStepType):
    """Value: that of the last round. Reaching `max_iterations` while the condition still holds is `degraded`."""

    type_names = ("while_loop",)
    options = WhileLoopOptions

    @staticmethod
    def templates(options: Any) -> tuple[tuple[str, Any], ...]:
        return (("condition", options.condition), *(each for each in templates_in(options) if each[0] != "condition"))

    @staticmethod
    def inner_steps(options: Any) -> tuple[Any, ...]:
        return tuple(options.steps)

    @staticmethod
    def repeats(options: Any) -> int:
        return int(options.max_iterations)

    async def run(self, step: Step, options: WhileLoopOptions, context: StepContext) -> StepResult:
        tally, scope = Tally(context), position_of(step, context)
        last, index, status = Round(status="skipped"), 0, "ok"
        while _goes_on(options, index, last, context):
            if index == options.max_iterations:
                return _result(last, tally, "degraded", f"stopped after {index} rounds while the condition still held")
            names = {"loop": _bound(index, last), "steps": last.steps}
            done = await run_round(options.steps, f"{scope}[{index}]", names, context)
            if done.status == "failed":
                return _failed(index, done, last, tally)
            status = "degraded" if done.status == "degraded" else status
            last, index = done, index + 1
        return _result(last, tally, status)


def _goes_on(options: WhileLoopOptions, index: int, last: Round, context: StepContext) -> bool:
    if index == 0 and _reads_own_steps(options):
        return True  # there is nothing to read yet
    names = context.names
    steps = {**names.get("steps", {}), **last.steps}
    return evaluate_condition(options.condition, {**names, "steps": steps, "loop": _bound(index, last)})


def _reads_own_steps(options: WhileLoopOptions) -> bool:
    own = {step.name for step in options.steps}
    return any(path[0] == "steps" and len(path) > 1 and path[1] in own for path in condition_facts(options.condition).names)


def _bound(index: int, last: Round) -> dict[str, Any]:
    return {"index": index, "previous": last.value, "item": index, "first": index == 0}


def _result(last: Round, tally: Tally, status: Any, warning: str = "") -> StepResult:
    return StepResult(
        value=last.value,
        text=last.text,
        status=status,
        latency_seconds=tally.elapsed_seconds,
        warnings=(warning,) if warning else (),
    )


def _failed(index: int, done: Round, last: Round, tally: Tally) -> StepResult:
    """The value is what the rounds before had reached."""
    return StepResult(
        value=last.value,
        status="failed",
        latency_seconds=tally.elapsed_seconds,
        error=f"round {index}: {done.error}",
        error_code=done.error_code,
    )
