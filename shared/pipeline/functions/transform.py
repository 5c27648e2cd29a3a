"""`data_transform`: operations on rows, as maps with `op`; how a document writes them is checked by the step type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.pipeline.functions import rows

Operation = Mapping[str, Any]


def transform(data: Any, query: str | None, operations: Sequence[Operation]) -> Any:
    """What the last operation gives. Raises `InvalidInputError` for data that does not fit, `StepLimitError` for too many rows."""
    if query is not None:
        data = rows.reader(query)(data)
    for operation in operations:
        data = _EVALUATORS[operation["op"]](data, operation)
    return data


def _filter(data: Any, operation: Operation) -> Any:
    read = rows.reader(operation["where"])
    return [row for row in rows.rows_of(data, "filter") if rows.is_true(read(row))]


def _map(data: Any, operation: Operation) -> Any:
    read = rows.reader(operation["expression"])
    return [read(row) for row in rows.rows_of(data, "map")]


def _sort(data: Any, operation: Operation) -> Any:
    return rows.sort(rows.rows_of(data, "sort"), operation["by"], descending=operation["descending"])


def _group(data: Any, operation: Operation) -> Any:
    return [{"key": key, "rows": members} for key, members in rows.grouped(rows.rows_of(data, "group"), operation["by"])]


def _join(data: Any, operation: Operation) -> Any:
    both = operation["on"]
    keys = (both, both) if both is not None else (operation["left_on"], operation["right_on"])
    other = rows.rows_of(operation["with"], "join `with`")
    return rows.join(rows.rows_of(data, "join"), other, keys, operation["how"])


def _aggregate(data: Any, operation: Operation) -> Any:
    listed, by = rows.rows_of(data, "aggregate"), operation["by"]
    if by is None:
        return _measured(listed, operation["measures"])
    return [{"key": key, **_measured(members, operation["measures"])} for key, members in rows.grouped(listed, by)]


def _measured(listed: list[Any], measures: Mapping[str, Operation]) -> dict[str, Any]:
    return {name: rows.aggregate(listed, measure["function"], measure["of"]) for name, measure in measures.items()}


def _unique(data: Any, operation: Operation) -> Any:
    listed = rows.rows_of(data, "unique")
    return [members[0] for _, members in rows.grouped(listed, operation["by"] or "@")]


_EVALUATORS: Mapping[str, Callable[[Any, Operation], Any]] = {
    "query": lambda data, operation: rows.reader(operation["expression"])(data),
    "filter": _filter,
    "map": _map,
    "sort": _sort,
    "group": _group,
    "join": _join,
    "aggregate": _aggregate,
    "limit": lambda data, operation: rows.rows_of(data, "limit")[: operation["count"]],
    "unique": _unique,
}
