"""A JSON Schema -> the subset of it whose values fit into the tokens that a request allows.

A small model that may write without end does so, and a structured answer that is cut is no answer. So what a schema leaves open is
bounded: texts without a length, lists without one, and values of any type, which become texts.
"""

from __future__ import annotations

from typing import Any

CHARACTERS_A_TOKEN = 2.5
"""Of English text it is four, of names and punctuation between two and three."""
MOST_ITEMS = 4
SHORTEST_TEXT, LONGEST_TEXT = 8, 2000
WORTHWHILE_TEXT = 40
"""Fewer items are better than texts that are shorter than this."""
ANNOTATIONS = frozenset(("title", "description", "examples", "default", "$comment"))
SIZED_BY_OTHERS = frozenset(("maxLength", "enum", "const", "pattern", "format"))


def fitted(schema: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    """The schema itself where nothing in it is open. `{}` at the root stays any JSON."""
    if _is_any(schema):
        return schema
    room = max_tokens * CHARACTERS_A_TOKEN
    for items in range(MOST_ITEMS, 0, -1):
        texts, rest = _measured(schema, items)
        length = int((room - rest) / texts) if texts else LONGEST_TEXT
        if length >= WORTHWHILE_TEXT or items == 1:
            bounded: dict[str, Any] = _bounded(schema, items, min(LONGEST_TEXT, max(SHORTEST_TEXT, length)))
            return bounded
    raise AssertionError("one item is always tried")


def _is_any(schema: Any) -> bool:
    return schema is True or (isinstance(schema, dict) and set(schema) <= ANNOTATIONS)


def _is_open_text(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "string" and not SIZED_BY_OTHERS & set(schema)


def _items_of(schema: dict[str, Any], items: int) -> int:
    return int(schema.get("maxItems", max(items, schema.get("minItems", 0))))


def _measured(schema: Any, items: int) -> tuple[int, float]:
    """How many open texts a largest value holds, and how many characters are around them."""
    if _is_any(schema):
        return 1, 2
    if not isinstance(schema, dict):
        return 0, 0
    if isinstance(schema.get("properties"), dict):
        parts = {name: _measured(each, items) for name, each in schema["properties"].items()}
        return sum(texts for texts, _ in parts.values()), 2 + sum(len(name) + 4 + rest for name, (_, rest) in parts.items())
    if schema.get("type") == "array":
        texts, rest = _measured(schema.get("items", True), items)
        count = _items_of(schema, items)
        return texts * count, 2 + (rest + 1) * count
    if _is_open_text(schema):
        return 1, 2
    return 0, _size_of_closed(schema)


def _size_of_closed(schema: dict[str, Any]) -> float:
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return float(max((len(str(value)) + 2 for value in values), default=schema.get("maxLength", 6) + 2))


def _bounded(schema: Any, items: int, length: int) -> Any:
    if _is_any(schema):
        annotations = schema if isinstance(schema, dict) else {}
        return {**annotations, "type": "string", "maxLength": length}
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("properties"), dict):
        return {**schema, "properties": {name: _bounded(each, items, length) for name, each in schema["properties"].items()}}
    if schema.get("type") == "array":
        return {**schema, "items": _bounded(schema.get("items", True), items, length), "maxItems": _items_of(schema, items)}
    return {**schema, "maxLength": length} if _is_open_text(schema) else schema
