"""`data_transform`: pure work on data: JMESPath, and filter, map, sort, group, join, aggregate, limit, unique in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field, model_validator

from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps import operations as ops
from shared.pipeline.steps import rows
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
        data = context.render(options.input)
        others = [context.render(each.with_) if isinstance(each, ops.Join) else None for each in options.operations]
        # Large data would hold up the heartbeats of everything else in this process.
        value = await asyncio.to_thread(transformed, data, options, others)
        text = "" if isinstance(value, list) and len(value) > _MAX_TEXT_ROWS else as_text(value)
        return StepResult(value=value, text=text, latency_seconds=tally.elapsed_seconds)


def transformed(data: Any, options: DataTransformOptions, others: list[Any]) -> Any:
    """`others[i]` is the rendered other list of operation i, where that is a join."""
    if options.query is not None:
        data = rows.reader(options.query)(data)
    for operation, other in zip(options.operations, others, strict=True):
        data = _EVALUATORS[operation.op](data, operation, other)
    return data


def _filter(data: Any, operation: ops.Filter, _: Any) -> Any:
    read = rows.reader(operation.where)
    return [row for row in rows.rows_of(data, "filter") if rows.is_true(read(row))]


def _map(data: Any, operation: ops.Map, _: Any) -> Any:
    read = rows.reader(operation.expression)
    return [read(row) for row in rows.rows_of(data, "map")]


def _group(data: Any, operation: ops.Group, _: Any) -> Any:
    return [{"key": key, "rows": members} for key, members in rows.grouped(rows.rows_of(data, "group"), operation.by)]


def _join(data: Any, operation: ops.Join, other: Any) -> Any:
    return rows.join(rows.rows_of(data, "join"), rows.rows_of(other, "join `with`"), operation.keys, operation.how)


def _aggregate(data: Any, operation: ops.Aggregate, _: Any) -> Any:
    listed = rows.rows_of(data, "aggregate")
    if operation.by is None:
        return _measured(listed, operation.measures)
    return [{"key": key, **_measured(members, operation.measures)} for key, members in rows.grouped(listed, operation.by)]


def _measured(listed: list[Any], measures: Mapping[str, ops.Measure]) -> dict[str, Any]:
    return {name: rows.aggregate(listed, measure.function, measure.of) for name, measure in measures.items()}


def _unique(data: Any, operation: ops.Unique, _: Any) -> Any:
    listed = rows.rows_of(data, "unique")
    return [members[0] for _, members in rows.grouped(listed, operation.by or "@")]


_EVALUATORS: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "query": lambda data, operation, _: rows.reader(operation.expression)(data),
    "filter": _filter,
    "map": _map,
    "sort": lambda data, operation, _: rows.sort(rows.rows_of(data, "sort"), operation.by, descending=operation.descending),
    "group": _group,
    "join": _join,
    "aggregate": _aggregate,
    "limit": lambda data, operation, _: rows.rows_of(data, "limit")[: operation.count],
    "unique": _unique,
}
