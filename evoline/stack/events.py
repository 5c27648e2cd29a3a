"""What a start or stop tells whoever watches it: one JSON object a line, over a pipe or the control socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

StackEventKind = Literal["starting", "ready", "done", "crashed", "restarting", "stopping", "stopped", "up", "down", "failed"]


@dataclass(frozen=True)
class StackEvent:
    """`name` is a process or a step of the start (`streams`, `keys`); empty for the stack as a whole."""

    kind: StackEventKind
    name: str = ""
    text: str = ""
    seconds: float = 0.0

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


OnEvent = Callable[[StackEvent], None]


def parse_event(line: bytes) -> StackEvent | None:
    """None where the line is no event, as the start of a traceback in a pipe."""
    try:
        fields: Any = json.loads(line)
        return StackEvent(**fields)
    except (ValueError, TypeError):
        return None
