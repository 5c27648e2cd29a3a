"""`pipeline`: a nested run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import Field, model_validator

from shared.errors import InvalidInputError
from shared.pipeline.document import Step
from shared.pipeline.step import ChildRun, ChildSpec, StepContext, StepResult
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.steps.candidates import REFERENCE
from shared.pipeline.template_text import as_text


class PipelineOptions(Options):
    pipeline: str | dict[str, Any]
    """`name`, `name@stable`, `name@<digest>`, a template that gives such a name, or a document written out."""
    inputs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _shape(self) -> PipelineOptions:
        if isinstance(self.pipeline, str) and not _is_template(self.pipeline) and not REFERENCE.fullmatch(self.pipeline):
            raise ValueError("`pipeline` must be `name`, `name@stable`, `name@canary`, `name@<digest>` or a document")
        return self


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text


class PipelineStep(BaseStepType):
    """Value: the child's outputs."""

    type_names = ("pipeline",)
    options = PipelineOptions

    @staticmethod
    def templates(options: Any) -> tuple[tuple[str, Any], ...]:
        # The templates of a document written out are the child's own.
        inline = isinstance(options.pipeline, Mapping)
        return tuple(each for each in BaseStepType.templates(options) if not (inline and each[0].startswith("pipeline.")))

    @staticmethod
    def nested(options: Any) -> tuple[Any, ...]:
        return (options.pipeline,)

    async def run(self, step: Step, options: PipelineOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        child = ChildSpec(key="child", inputs=context.render(options.inputs), **_target(step, options, context))
        (run,) = await context.run_children([child], 1)
        return child_result(run, tally)


def _target(step: Step, options: PipelineOptions, context: StepContext) -> dict[str, Any]:
    if not isinstance(options.pipeline, str):
        return {"document": options.pipeline}
    reference = context.render(options.pipeline)
    if not isinstance(reference, str) or not REFERENCE.fullmatch(reference):
        raise InvalidInputError(f"step `{step.name}`: {str(reference)[:80]!r} is not a reference to a pipeline")
    return {"reference": reference}


def child_result(run: ChildRun, tally: Tally) -> StepResult:
    """A child that did not succeed fails the step; what it had reached is kept. Its usage is part of the step's."""
    status = {"succeeded": "ok", "degraded": "degraded"}.get(run.status, "failed")
    return StepResult(
        value=run.outputs,
        text=as_text(run.outputs) if run.outputs is not None else "",
        status=cast("Any", status),
        usage=run.usage,
        latency_seconds=tally.elapsed_seconds,
        warnings=(f"run {run.run_id} is degraded",) if status == "degraded" else (),
        error=f"run {run.run_id} {run.status}: {run.error}" if status == "failed" else "",
        error_code=(run.error_code or run.status) if status == "failed" else "",
    )
