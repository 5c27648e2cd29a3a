"""Bodies: JSON objects to frozen models and back, every fault as a `Problem` with its place."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import InvalidInputError, Problem
from shared.events import Message
from shared.messaging.topology import MAX_BODY_BYTES

M = TypeVar("M", bound=Message)

MAX_PROBLEMS = 100
_PATH_CHARACTERS, _PATH_PARTS, _REASON_CHARACTERS = 200, 20, 1000


def encode(message: BaseModel) -> bytes:
    """The JSON body. Raises InvalidInputError where it is larger than the bus takes."""
    body = message.model_dump_json().encode()
    if len(body) > MAX_BODY_BYTES:
        raise InvalidInputError(
            Problem(
                reason=f"{type(message).__name__} is {len(body):,} bytes as JSON; a message holds at most {MAX_BODY_BYTES:,}",
                suggestion="send less at once: register examples as a data set, or split the message",
            )
        )
    return body


def decode(message_class: type[M], body: bytes) -> M:
    """Raises InvalidInputError with one problem per fault, `path` dotted as in `examples.3.id`."""
    try:
        return message_class.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInputError(problems_of(error)) from error


def problems_of(error: ValidationError) -> list[Problem]:
    """At most 100, each short: what is told about a message must itself fit into one."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    told = [
        Problem(path=_place(fault["loc"]), reason=_reason(str(fault["msg"]), str(fault["type"]))) for fault in faults[:MAX_PROBLEMS]
    ]
    return told if len(faults) <= MAX_PROBLEMS else [*told[:-1], Problem(reason=f"and {len(faults) - MAX_PROBLEMS + 1} more")]


def _place(location: tuple[int | str, ...]) -> str:
    path = ".".join(str(part)[:_PATH_CHARACTERS] for part in location[:_PATH_PARTS])
    return path if len(path) <= _PATH_CHARACTERS else f"{path[:_PATH_CHARACTERS]}..."


def _reason(text: str, kind: str) -> str:
    return "is not a field of this message" if kind == "extra_forbidden" else text[:_REASON_CHARACTERS]


def correlation_id(message_class: type[Message], body: bytes) -> str:
    """The sender's own id in a body that may be broken: the first field named `*_id`; empty where there is none to read."""
    field = next((name for name in message_class.model_fields if name.endswith("_id")), "")
    value = _object(body).get(field)
    # JSON may hold halves of characters, which no message can carry on.
    return value[:256].encode(errors="replace").decode() if isinstance(value, str) else ""


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
