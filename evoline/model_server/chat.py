"""What both wire formats say, in one form; and what can be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Stop = Literal["end", "max_tokens", "tool_use"]
Refusal = Literal["invalid", "not_found", "too_large", "overloaded", "failed"]


@dataclass(frozen=True)
class Turn:
    role: Role
    text: str


@dataclass(frozen=True)
class ToolDefinition:
    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class ChatRequest:
    model: str
    turns: tuple[Turn, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    seed: int | None = None
    stop_sequences: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    """The answer is one JSON value under this schema; `{}` is any JSON."""
    tools: tuple[ToolDefinition, ...] = ()
    forced_tools: tuple[str, ...] = ()
    """Names of which one must be called; empty leaves the choice to the model."""
    stream: bool = False


@dataclass(frozen=True)
class ToolUse:
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Spent:
    input_tokens: int = 0
    """Cached ones included."""
    cached_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class ChatAnswer:
    text: str
    stop: Stop
    spent: Spent = field(default_factory=Spent)
    tool: ToolUse | None = None


class RequestRefusedError(Exception):
    """A request that gets no answer; each wire format has its own status and body for `refusal`."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        self.refusal = refusal
        super().__init__(message)


def invalid(message: str) -> RequestRefusedError:
    return RequestRefusedError("invalid", message)
