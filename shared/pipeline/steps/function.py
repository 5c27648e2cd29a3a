"""`function`: one entry of the function catalogue."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.template_text import as_text


class FunctionOptions(Options):
    function: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Templates are evaluated inside it."""
    constants: dict[str, Any] = Field(default_factory=dict)
    """More arguments, taken as they are: text in them is never read as a template. The place for examples and tables."""

    @model_validator(mode="after")
    def _apart(self) -> FunctionOptions:
        both = sorted(self.arguments.keys() & self.constants.keys())
        if both:
            raise ValueError(f"both in `arguments` and in `constants`: {', '.join(both)}")
        return self


class FunctionStep(BaseStepType):
    """Value: the function's result."""

    type_names = ("function",)
    options = FunctionOptions

    @staticmethod
    def templates(options: Any) -> tuple[tuple[str, Any], ...]:
        return tuple(each for each in BaseStepType.templates(options) if each[0].startswith("arguments."))

    @staticmethod
    def functions(options: Any) -> tuple[str, ...]:
        return (options.function,)

    async def run(self, step: Step, options: FunctionOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        value = await context.call_function(options.function, {**options.constants, **context.render(options.arguments)})
        return StepResult(value=value, text=as_text(value), latency_seconds=tally.elapsed_seconds)
