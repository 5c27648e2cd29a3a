"""Answers to queries: `{"ok": true, "data": ...}` or `{"ok": false, "error": {code, message, problems}}`; typed errors back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from shared.errors import (
    ConfigurationError,
    EvolineError,
    FencedError,
    FrozenError,
    InvalidInputError,
    LimitReachedError,
    NotAttestedError,
    NotAuthorizedError,
    NotFoundError,
    OutOfScopeError,
    PermanentError,
    Problem,
    ProviderError,
    ProviderRefusedError,
    TransientError,
    UnavailableError,
)
from shared.events.answers import Answered, malformed
from shared.messaging.topology import MAX_BODY_BYTES

INTERNAL = "internal"
"""Code of an error that nobody raised on purpose."""
_PLAIN: tuple[type[EvolineError], ...] = (
    NotFoundError,
    NotAttestedError,
    NotAuthorizedError,
    OutOfScopeError,
    FrozenError,
    ProviderRefusedError,
    ConfigurationError,
    PermanentError,
    UnavailableError,
    TransientError,
    FencedError,
)


def success(data: BaseModel | Mapping[str, Any]) -> bytes:
    """Raises LimitReachedError where the answer does not fit into a message."""
    value = data.model_dump(mode="json") if isinstance(data, BaseModel) else to_jsonable_python(data, inf_nan_mode="constants")
    body = _written({"ok": True, "data": value})
    if len(body) > MAX_BODY_BYTES:
        raise LimitReachedError("message_bytes", f"the answer is {len(body):,} bytes, at most {MAX_BODY_BYTES:,} fit; ask for less")
    return body


def _written(answer: Mapping[str, Any]) -> bytes:
    """As few bytes as there are: escapes only where a text holds halves of characters, which have no bytes."""
    try:
        return json.dumps(answer, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(answer, separators=(",", ":"), allow_nan=False).encode()


def failure(error: BaseException) -> bytes:
    return json.dumps({"ok": False, "error": describe(error)}, separators=(",", ":")).encode()


def describe(error: BaseException) -> dict[str, Any]:
    """JSON form of an error; texts of unexpected ones name the class only, since they may hold anything."""
    if not isinstance(error, EvolineError):
        return {"code": INTERNAL, "message": f"unexpected {type(error).__name__}", "problems": []}
    value: dict[str, Any] = {"code": error.code, "message": str(error)[:4000], "problems": []}
    if isinstance(error, InvalidInputError):
        value["problems"] = [problem.model_dump() for problem in error.problems[:100]]
    if isinstance(error, LimitReachedError):
        value["limit"] = error.limit
    if isinstance(error, ProviderError):
        value["kind"] = error.kind
    if isinstance(error, TransientError):
        value["retry_after_seconds"] = error.retry_after_seconds
    return value


def problems_in(error: BaseException) -> tuple[Problem, ...]:
    """Problems of any error: its own, or one made from its text."""
    if isinstance(error, InvalidInputError):
        return error.problems
    return (Problem(reason=str(error)[:4000] or type(error).__name__),)


def open_answer(body: bytes, subject: str = "a question") -> Answered:
    """The data of a success; raises the error that a failure describes, `UnavailableError` for what is no answer of this bus."""
    try:
        envelope = json.loads(body, parse_constant=_no_number, parse_float=_finite)
        answered, data = envelope["ok"], envelope.get("data")
        if not isinstance(answered, bool):
            raise TypeError("`ok` is neither true nor false")
        failure = None if answered else _error_from(envelope.get("error") or {})
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise malformed(subject, "it is not an envelope of this bus") from error
    if failure is not None:
        raise failure
    return Answered(data if isinstance(data, dict) else {"value": data}, subject)


def _finite(text: str) -> float:
    """`1e999` is a number of JSON, but none that can be counted with."""
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _error_from(described: Mapping[str, Any]) -> EvolineError:
    code, message = str(described.get("code", "")), str(described.get("message", "no reason given"))
    if code == InvalidInputError.code:
        problems = [Problem.model_validate(problem) for problem in described.get("problems") or ()]
        return InvalidInputError(problems or message)
    if code == LimitReachedError.code:
        return LimitReachedError(str(described.get("limit", "")), message)
    if code == ProviderError.code:
        wait = described.get("retry_after_seconds")
        return ProviderError(str(described.get("kind", "server")), message, None if wait is None else float(wait))
    for error in _PLAIN:
        if error.code == code:
            return error(message)
    return TransientError(f"{message} (code {code or 'missing'})")
