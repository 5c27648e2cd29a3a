"""`switch`: the inner steps of one case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options, templates_in
from shared.pipeline.steps.inner import InnerSteps, position_of, run_round
from shared.pipeline.template_text import as_text
from shared.pipeline.templates import evaluate_condition


class When(Options):
    condition: str = Field(min_length=1)
    steps: InnerSteps


def _labelled(value: Any) -> Any:
    """YAML reads `true:` and `1:` as no text; cases are compared as text."""
    return {_label(key): steps for key, steps in value.items()} if isinstance(value, Mapping) else value


def _label(value: Any) -> str:
    return as_text(value).strip()


Cases = Annotated[dict[str, InnerSteps], BeforeValidator(_labelled)]


class SwitchOptions(Options):
    """Either `value` with `cases` as a map from value to steps, or `cases` as a list of conditions, of which the first true one
    is taken."""

    value: Any = None
    cases: Annotated[Cases | tuple[When, ...], Field(min_length=1, max_length=50)]
    default: InnerSteps | None = None

    @model_validator(mode="after")
    def _whole(self) -> SwitchOptions:
        if isinstance(self.cases, dict) and self.value is None:
            raise ValueError("cases by value need a `value`")
        if not isinstance(self.cases, dict) and self.value is not None:
            raise ValueError("`value` needs cases written as a map from value to steps")
        return self


class SwitchStep(BaseStepType):
    """Value: that of the chosen case; `skipped` where no case fits and there is no default."""

    type_names = ("switch",)
    options = SwitchOptions

    @staticmethod
    def templates(options: Any) -> tuple[tuple[str, Any], ...]:
        found = tuple(templates_in(options.value, "value"))
        if isinstance(options.cases, dict):
            return found
        return (*found, *((f"cases[{index}].condition", case.condition) for index, case in enumerate(options.cases)))

    @staticmethod
    def inner_steps(options: Any) -> tuple[Any, ...]:
        return tuple(step for _, steps in _branches(options) for step in steps)

    async def run(self, step: Step, options: SwitchOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        label, steps = _chosen(options, context)
        if steps is None:
            return StepResult(status="skipped", latency_seconds=tally.elapsed_seconds, warnings=(f"no case for {label}",))
        done = await run_round(steps, f"{position_of(step, context)}[{label}]", {}, context)
        return StepResult(
            value=done.value,
            text=done.text,
            status=done.status,
            latency_seconds=tally.elapsed_seconds,
            error=done.error,
            error_code=done.error_code,
        )


def _branches(options: SwitchOptions) -> Iterator[tuple[str, tuple[Step, ...]]]:
    if isinstance(options.cases, dict):
        yield from options.cases.items()
    else:
        yield from ((str(index), case.steps) for index, case in enumerate(options.cases))
    if options.default:
        yield "default", options.default


def _chosen(options: SwitchOptions, context: StepContext) -> tuple[str, tuple[Step, ...] | None]:
    if not isinstance(options.cases, dict):
        for index, case in enumerate(options.cases):
            if evaluate_condition(case.condition, context.names):
                return str(index), case.steps
        return ("default", options.default) if options.default else ("any condition", None)
    wanted = _label(context.render(options.value))
    if wanted in options.cases:
        return wanted, options.cases[wanted]
    return ("default", options.default) if options.default else (repr(wanted[:80]), None)
