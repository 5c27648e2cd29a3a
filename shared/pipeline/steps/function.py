"""`function`: one entry of the function catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, model_validator

from shared.errors import Problem
from shared.pipeline.document import Step
from shared.pipeline.functions import FunctionSpec, function_catalogue
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally, schema_problems
from shared.pipeline.steps.base import BaseStepType, Options, templates_in
from shared.pipeline.suggestions import did_you_mean
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

    def problems(self, step: Step) -> tuple[Problem, ...]:
        """Arguments that do not fit the catalogue's schema; what a template gives is judged when it is known."""
        spec = function_catalogue().get(getattr(step.options, "function", ""))
        return (*super().problems(step), *(_misfits(step.options, spec) if spec else ()))

    async def run(self, step: Step, options: FunctionOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        value = await context.call_function(options.function, {**options.constants, **context.render(options.arguments)})
        return StepResult(value=value, text=as_text(value), latency_seconds=tally.elapsed_seconds)


def _misfits(options: Any, spec: FunctionSpec) -> Iterator[Problem]:
    known: Mapping[str, Any] = spec.parameters.get("properties", {})
    written = {name: (root, value) for root in ("arguments", "constants") for name, value in getattr(options, root).items()}
    for name in spec.parameters.get("required", ()):
        if name not in written:
            yield Problem(path="arguments", reason=f"function `{spec.name}` needs the argument `{name}`", suggestion="add it")
    for name, (root, value) in written.items():
        if name not in known:
            reason = f"function `{spec.name}` has no argument `{name}`"
            yield Problem(path=f"{root}.{name}", reason=reason, suggestion=did_you_mean(name, tuple(known)))
        elif root == "arguments" and not any(templates_in(value)):  # constants may be blanks of a seed template
            for wrong in schema_problems(value, known[name], limit=3):
                yield Problem(path=f"{root}.{name}", reason=f"does not fit the function's schema: {wrong}")
