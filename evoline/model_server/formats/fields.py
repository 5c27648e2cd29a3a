"""Reading untrusted JSON with errors that name the field."""

from __future__ import annotations

from typing import Any

from evoline.model_server.chat import invalid

KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
}


def optional(body: dict[str, Any], name: str, kind: type, path: str = "") -> Any:
    """The field's value, None where it is absent or null. Integers pass as numbers, booleans never do."""
    value = body.get(name)
    if value is None:
        return None
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise invalid(f"{path}{name}: must be {KINDS[kind]}")
    return value


def required(body: dict[str, Any], name: str, kind: type, path: str = "") -> Any:
    value = optional(body, name, kind, path)
    if value is None:
        raise invalid(f"{path}{name}: Field required")
    return value


def as_object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"{path}: must be an object")
    return value


def texts(value: Any, path: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(f"{path}: must be an array of strings")
    return tuple(item for item in value if item)


def positive(value: int | None, default: int, path: str) -> int:
    if value is None:
        return default
    if value < 1:
        raise invalid(f"{path}: must be at least 1")
    return value


def in_range(value: float | None, path: str) -> float:
    """Temperature; without one the likeliest token wins."""
    if value is None:
        return 0.0
    if not 0 <= value <= 2:
        raise invalid(f"{path}: must be between 0 and 2")
    return float(value)
