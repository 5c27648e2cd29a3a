"""What the provider stand-in can be told to answer: texts, tool calls and faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes import provider_wire as wire

Kind = Literal["text", "tool", "status", "slow", "error", "drip", "hang", "cut", "invalid_json", "wrong_shape", "empty", "blocked"]
MODEL = "standin-1"
FAULTS = frozenset({"error", "drip", "cut", "invalid_json", "wrong_shape"})
"""Kinds that give no whole answer."""


@dataclass(frozen=True)
class Reply:
    """One scripted answer or fault; use the functions below."""

    kind: Kind
    text: str = ""
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    retry_after: str = ""
    cached_tokens: int = 0
    stop: Literal["end", "max_tokens"] = "end"


def text(value: str, *, cached_tokens: int = 0, stop: Literal["end", "max_tokens"] = "end") -> Reply:
    return Reply("text", text=value, cached_tokens=cached_tokens, stop=stop)


def tool_call(name: str, arguments: dict[str, Any]) -> Reply:
    return Reply("tool", tool=name, arguments=arguments)


def status(code: int, message: str = "scripted fault", retry_after: str = "") -> Reply:
    return Reply("status", text=message, status=code, retry_after=retry_after)


def slow(value: str) -> Reply:
    """A whole answer in pieces, 50 ms apart."""
    return Reply("slow", text=value)


def error_amid(kind: str, message: str = "scripted fault") -> Reply:
    """An error event, by its Anthropic type or Gemini's status code, behind the first pieces of a streamed answer."""
    return Reply("error", text=message, tool=kind)


def fault(kind: Literal["drip", "hang", "cut", "invalid_json", "wrong_shape", "empty", "blocked"]) -> Reply:
    """`drip`: one byte every 50 ms without end; `hang`: no byte; `cut`: closed in the middle of the body; `invalid_json` and
    `wrong_shape`: a 200 that is no answer; `empty`: an answer without content; `blocked`: the provider's content filter.

    In a stream, all but `hang` and `wrong_shape` come behind the first pieces of an answer."""
    return Reply(kind)


def answered(reply: Reply) -> wire.Answered:
    return wire.Answered(
        text={"empty": "", "blocked": ""}.get(reply.kind, reply.text if reply.kind != "error" else "half an answer"),
        tool=reply.tool if reply.kind == "tool" else "",
        arguments=reply.arguments,
        stop=reply.stop,
        cached_tokens=reply.cached_tokens,
        blocked=reply.kind == "blocked",
        model=MODEL,
    )
