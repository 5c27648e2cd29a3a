"""`lookup_table`: a value by key from a small table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import InvalidInputError, NotFoundError
from shared.pipeline.functions.spec import FunctionSpec, parameters

MAX_ROWS = 10_000


def lookup_table(
    table: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    key: Any,
    key_field: str = "key",
    value_field: str | None = None,
    *,
    normalize: bool = False,
    **default: Any,
) -> Any:
    """The value of `key`; of rows, the field `value_field` or the whole row. Without a `default` a missing key is an error."""
    wanted = _comparable(key, normalize=normalize)
    for each, value in _entries(table, key_field, value_field):
        if _comparable(each, normalize=normalize) == wanted:
            return value
    if "default" in default:
        return default["default"]
    raise NotFoundError(f"lookup_table: no entry for {key!r}")


def _entries(table: Any, key_field: str, value_field: str | None) -> list[tuple[Any, Any]]:
    if isinstance(table, Mapping):
        return [*table.items()]
    missing = [
        index for index, row in enumerate(table) if key_field not in row or (value_field is not None and value_field not in row)
    ]
    if missing:
        raise InvalidInputError(
            f"lookup_table: row {missing[0]} lacks `{key_field}`" + (f" or `{value_field}`" if value_field else "")
        )
    return [(row[key_field], row if value_field is None else row[value_field]) for row in table]


def _comparable(key: Any, *, normalize: bool) -> str:
    """Keys of JSON objects are text, so 7 finds "7" and true finds "true"."""
    text = str(key).lower() if isinstance(key, bool) else str(key)
    return " ".join(text.split()).casefold() if normalize else text


LOOKUP_TABLE = FunctionSpec(
    name="lookup_table",
    description="Looks a key up in a map, or in a list of rows by one of their fields.",
    parameters=parameters(
        {
            "table": {
                "anyOf": [
                    {"type": "object", "maxProperties": MAX_ROWS},
                    {"type": "array", "maxItems": MAX_ROWS, "items": {"type": "object"}},
                ]
            },
            "key": {"type": ["string", "number", "boolean"]},
        },
        {
            "key_field": {"type": "string", "default": "key"},
            "value_field": {"type": "string", "description": "Field of the row to return; without it the whole row."},
            "normalize": {"type": "boolean", "default": False, "description": "Compares regardless of case and spaces."},
            "default": {"description": "Returned where the key is missing; without it that is an error."},
        },
    ),
    cost_class="free",
    pure=lookup_table,
)
