"""Keeps secrets out of logs, errors and spans: by the name of a field, and by the look of a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"
_SECRET_NAME = re.compile(
    r"passw(or)?d|secret|api[_-]?key|authorization|credential|private[_-]?key|cookie|^token$|(access|auth|refresh|bearer)[_-]?token",
    re.IGNORECASE,
)
_SECRET_LOOK = re.compile(
    r"(?P<key>\bsk-[A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{20,})"
    r"|(?P<bearer>(?<=bearer )\S+)"
    r"|(?P<userinfo>(?<=://)[^/\s:@]+:[^/\s@]+(?=@))"
    r"|(?P<pem>-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z))",
    re.IGNORECASE | re.DOTALL,
)
_MAX_DEPTH = 6


def redact_text(text: str) -> str:
    return _SECRET_LOOK.sub(HIDDEN, text)


def redact(value: Any, depth: int = 0) -> Any:
    """A copy without secrets; what is nested deeper than six levels is given as redacted text."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset) and depth >= _MAX_DEPTH:
        return redact_text(str(value))
    if isinstance(value, Mapping):
        return {key: HIDDEN if _SECRET_NAME.search(str(key)) else redact(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    return value
