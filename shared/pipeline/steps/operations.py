"""How the operations of `data_transform` are written: maps with `op`, or the short form `{filter: expression}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from shared.pipeline.functions.rows import compiled
from shared.pipeline.steps.base import Options


def _checked(expression: str) -> str:
    compiled(expression)
    return expression


Expression = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_checked)]
"""JMESPath."""
Listed = Annotated[
    tuple[Expression, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value), Field(min_length=1)
]
Function = Literal["count", "sum", "mean", "min", "max", "median", "first", "last", "list", "distinct"]


class Query(Options):
    """Any value -> the value of the expression."""

    op: Literal["query"]
    expression: Expression


class Filter(Options):
    """Rows for which the expression is true (as JMESPath defines truth)."""

    op: Literal["filter"]
    where: Expression


class Map(Options):
    """Each row -> the value of the expression; null results are kept."""

    op: Literal["map"]
    expression: Expression


class Sort(Options):
    """By one expression or several. Any values have an order: null, booleans, numbers, texts, others."""

    op: Literal["sort"]
    by: Listed
    descending: bool = False


class Group(Options):
    """`[{key, rows}]` in the order in which keys are first seen."""

    op: Literal["group"]
    by: Expression


class Join(Options):
    """Rows of both lists that agree, merged; `how: left` keeps rows without a match."""

    op: Literal["join"]
    with_: str | list[Any] = Field(alias="with")
    """The other list, or a template that gives it."""
    on: Expression | None = None
    left_on: Expression | None = None
    right_on: Expression | None = None
    how: Literal["inner", "left"] = "inner"

    @model_validator(mode="after")
    def _keys(self) -> Join:
        sides = (self.left_on, self.right_on)
        if (self.on is None) != all(sides) or (self.on is not None and any(sides)):
            raise ValueError("give either `on`, or both `left_on` and `right_on`")
        return self


class Measure(Options):
    function: Function
    of: Expression | None = None
    """What is read from each row; only `count`, `first`, `last`, `list` and `distinct` do without."""

    @model_validator(mode="after")
    def _needs_of(self) -> Measure:
        if self.of is None and self.function in ("sum", "mean", "min", "max", "median"):
            raise ValueError(f"`{self.function}` needs `of`")
        return self


class Aggregate(Options):
    """One map of measures, or with `by` one map a group, its key under `key`."""

    op: Literal["aggregate"]
    by: Expression | None = None
    measures: dict[str, Measure] = Field(min_length=1)


class Limit(Options):
    """At most so many rows, from the start."""

    op: Literal["limit"]
    count: int = Field(ge=0)


class Unique(Options):
    """The first row of each value of the expression; without one, of each whole row."""

    op: Literal["unique"]
    by: Expression | None = None


_SHORT = {
    "query": "expression",
    "filter": "where",
    "map": "expression",
    "sort": "by",
    "group": "by",
    "limit": "count",
    "unique": "by",
}
"""Operation -> the key that the short form gives."""
_LONG_ONLY = frozenset(("join", "aggregate"))


def _long_form(value: Any) -> Any:
    if not isinstance(value, Mapping) or "op" in value or len(value) != 1:
        return value
    ((op, argument),) = value.items()
    if isinstance(argument, Mapping) and (op in _SHORT or op in _LONG_ONLY):
        return {"op": op, **argument}
    return {"op": op, _SHORT[op]: argument} if op in _SHORT else value


Operation = Annotated[
    Annotated[Query | Filter | Map | Sort | Group | Join | Aggregate | Limit | Unique, Field(discriminator="op")],
    BeforeValidator(_long_form),
]
