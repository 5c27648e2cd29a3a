"""Operations of `data_transform`: one evaluator at every size, in plain order, with JMESPath for what is read from a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Protocol

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from shared.errors import InvalidInputError, StepLimitError
from shared.pipeline.plain_values import identity

MAX_ROWS = 1_000_000
"""Of any list that an operation makes; a join can multiply."""

Rows = list[Any]


class Reader(Protocol):
    def __call__(self, row: Any) -> Any: ...


def compiled(expression: str) -> ParsedResult:
    """Raises `ValueError` with what JMESPath says is wrong."""
    try:
        return jmespath.compile(expression)
    except JMESPathError as error:
        raise ValueError(f"not JMESPath: {expression!r}: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise ValueError(f"not JMESPath: {expression[:80]!r}: nested too deeply") from error


def reader(expression: str) -> Reader:
    """Reads a value out of a row. Raises `InvalidInputError` where a part of the expression does not fit the row."""
    parsed = compiled(expression)

    def read(row: Any) -> Any:
        try:
            return parsed.search(row)
        except (JMESPathError, TypeError, ValueError, ArithmeticError) as error:
            # JMESPath lets errors of Python through where it compares or adds what does not go together.
            raise InvalidInputError(f"`{expression[:200]}`: {str(error).splitlines()[0]}") from error
        except RecursionError as error:
            raise InvalidInputError(f"`{expression[:80]}`: the data or the expression is nested too deeply") from error

    return read


def rows_of(value: Any, operation: str) -> Rows:
    if not isinstance(value, list):
        raise InvalidInputError(f"{operation} needs a list, not {type(value).__name__}")
    return value


def is_true(value: Any) -> bool:
    """Truth as JMESPath defines it: null, false and everything empty are false; 0 is true."""
    return not (value is None or value is False or value in ("", [], {}))


def order_key(value: Any) -> tuple[int, Any]:
    """A total order over JSON values: null, booleans, numbers, texts, then everything else by its canonical text."""
    if value is None:
        return (0, 0)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, value)
    return (3, value) if isinstance(value, str) else (4, identity(value))


def sort(rows: Rows, by: Sequence[str], *, descending: bool) -> Rows:
    """Stable; rows that are equal keep their order in both directions."""
    readers = [reader(expression) for expression in by]
    return sorted(rows, key=lambda row: [order_key(read(row)) for read in readers], reverse=descending)


def grouped(rows: Rows, by: str) -> list[tuple[Any, Rows]]:
    """(key, rows) in the order in which keys are first seen."""
    read, groups, keys = reader(by), dict[str, Rows](), dict[str, Any]()
    for row in rows:
        key = read(row)
        name = identity(key)
        keys.setdefault(name, key)
        groups.setdefault(name, []).append(row)
    return [(keys[name], members) for name, members in groups.items()]


def join(left: Rows, right: Rows, on: tuple[str, str], how: str) -> Rows:
    """Rows of both sides that agree on a key, as one map; the left side wins where fields collide. Null keys match nothing."""
    read_left, read_right = reader(on[0]), reader(on[1])
    index: dict[str, Rows] = {}
    for row in right:
        if (key := read_right(row)) is not None:
            index.setdefault(identity(key), []).append(row)
    joined: Rows = []
    for row in left:
        key = read_left(row)
        matches = index.get(identity(key), []) if key is not None else []
        joined.extend(_merged(row, match) for match in matches)
        if not matches and how == "left":
            joined.append(row)
        if len(joined) > MAX_ROWS:
            raise StepLimitError("max_rows", f"a join makes more than {MAX_ROWS} rows")
    return joined


def _merged(left: Any, right: Any) -> dict[str, Any]:
    if not isinstance(left, Mapping) or not isinstance(right, Mapping):
        raise InvalidInputError("join needs rows that are maps")
    return {**right, **left}


def aggregate(rows: Rows, function: str, of: str | None) -> Any:
    """Nulls are left out; of nothing, `count` and `sum` give 0 and the others null."""
    values = rows if of is None else [value for value in map(reader(of), rows) if value is not None]
    if function == "count":
        return len(values)
    if function in _OF_ANYTHING:
        return _OF_ANYTHING[function](values)
    numbers = [_number(value, function) for value in values]
    if not numbers:
        return 0 if function == "sum" else None
    try:
        result = _OF_NUMBERS[function](numbers)
        if math.isfinite(result):
            return result
    except OverflowError:
        pass
    raise InvalidInputError(f"{function}: the numbers are too large")


def _sum(numbers: list[Any]) -> Any:
    """Exact: the order and number of rows never change the result (`fsum`)."""
    return sum(numbers) if all(isinstance(number, int) for number in numbers) else math.fsum(numbers)


def _number(value: Any, function: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInputError(f"{function} needs numbers, not {value!r}"[:200])
    return value


def _distinct(values: Rows) -> Rows:
    first: dict[str, Any] = {}
    for value in values:
        first.setdefault(identity(value), value)
    return [*first.values()]


_OF_ANYTHING: Mapping[str, Callable[[Rows], Any]] = {
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "list": lambda values: values,
    "distinct": _distinct,
}
_OF_NUMBERS: Mapping[str, Callable[[list[Any]], Any]] = {
    "sum": _sum,
    "mean": lambda numbers: math.fsum(numbers) / len(numbers),
    "min": min,
    "max": max,
    "median": median,
}
