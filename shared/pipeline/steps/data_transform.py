"""`data_transform`: pure work on data: JMESPath, and filter, map, sort, group, join, aggregate, limit, unique in order."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps import operations as ops
from shared.pipeline.steps.answers import Tally
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.template_text import as_text

_MAX_TEXT_ROWS = 1000


class DataTransformOptions(Options):
    input: Any
    """The data, or a template that gives it."""
    query: ops.Expression | None = None
    """Short for one `query` operation, before all others."""
    operations: tuple[ops.Operation, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _something(self) -> DataTransformOptions:
        if self.query is None and not self.operations:
            raise ValueError("give a `query`, `operations`, or both")
        return self


class DataTransformStep(BaseStepType):
    """Value: what the last operation gives."""

    type_names = ("data_transform",)
    options = DataTransformOptions

    @staticmethod
    def templates(options: Any) -> tuple[tuple[str, Any], ...]:
        # JMESPath is no template, even where it holds braces.
        return tuple(
            each for each in BaseStepType.templates(options) if each[0].startswith("input") or each[0].split(".")[-1][:4] == "with"
        )

    async def run(self, step: Step, options: DataTransformOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        operations = [_rendered(each, context) for each in options.operations]
        arguments = {"data": context.render(options.input), "query": options.query, "operations": operations}
        # An expression may be a bomb, and large data would hold up the heartbeats of everything else in this process.
        value = await context.compute("data_transform", arguments)
        text = "" if isinstance(value, list) and len(value) > _MAX_TEXT_ROWS else as_text(value)
        return StepResult(value=value, text=text, latency_seconds=tally.elapsed_seconds)


def _rendered(operation: Any, context: StepContext) -> dict[str, Any]:
    written: dict[str, Any] = operation.model_dump(mode="json", by_alias=True)
    return {**written, "with": context.render(written["with"])} if isinstance(operation, ops.Join) else written
