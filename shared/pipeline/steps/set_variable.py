"""`set_variable`: names a value for later steps, as `vars.<name>`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.template_text import as_text

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]


class SetVariableOptions(Options):
    """Either `variable` with `value`, or `variables`: a map from name to value."""

    variable: VariableName | None = None
    value: Any = None
    variables: dict[VariableName, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_form(self) -> SetVariableOptions:
        if (self.variable is None) == (not self.variables):
            raise ValueError("give either `variable` with `value`, or `variables`")
        if self.variables and self.value is not None:
            raise ValueError("`value` belongs to `variable`")
        return self


class SetVariableStep(BaseStepType):
    """Value: the variable's value, or the map of all."""

    type_names = ("set_variable",)
    options = SetVariableOptions

    async def run(self, step: Step, options: SetVariableOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        written = {options.variable: options.value} if options.variable else options.variables
        rendered = {name: context.render(value) for name, value in written.items()}
        for name, value in rendered.items():
            context.set_variable(name, value)
        value = rendered[options.variable] if options.variable else rendered
        return StepResult(value=value, text=as_text(value), latency_seconds=tally.elapsed_seconds)
