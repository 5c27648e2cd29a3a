"""What a step asks of a language model and what comes back, the same for every provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from shared.events.values import Usage

Family = Literal["claude", "gemini"]
"""A step family; configuration says which provider and model serve it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


class ToolSpec(_Frozen):
    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema of the arguments object."""


class ToolCall(_Frozen):
    id: str
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class ToolAnswer(_Frozen):
    call_id: str
    name: str
    content: Any
    """JSON value; errors are `{"error": "..."}`."""
    is_error: bool = False


class ChatMessage(_Frozen):
    role: Literal["user", "assistant"]
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """On assistant messages: what the model asked to be called."""
    tool_answers: tuple[ToolAnswer, ...] = ()
    """On user messages: the results of the calls before."""


class CompletionRequest(_Frozen):
    family: Family
    model: str | None = None
    """None: the family's configured model."""
    system: str = ""
    messages: tuple[ChatMessage, ...]
    json_schema: dict[str, Any] | None = None
    """Asks for one JSON value valid under this schema (provider-native structured output)."""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: Literal["auto", "any", "none"] = "auto"
    max_tokens: int = Field(default=512, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Not sent to providers that take none."""
    seed: int | None = None
    timeout_seconds: float = Field(default=60.0, gt=0)


class Completion(_Frozen):
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    stop: Literal["end", "max_tokens", "tool_use", "refused", "other"]
    usage: Usage
    provider: str
    """`anthropic`, `google` or `local`: who really served it."""
    model: str
    """The model that really served it, as the provider names it."""
    latency_seconds: float
    replayed: bool = False
    """Out of a recording: nothing of it was measured now."""


class TextChunk(_Frozen):
    """The next piece of the answer's text; all pieces together are the completion's `text`."""

    text: str


class ToolChunk(_Frozen):
    """One call that the model asks for, told once its arguments are whole."""

    call: ToolCall


StreamPart = TextChunk | ToolChunk | Completion


class LanguageModel(Protocol):
    async def complete(self, request: CompletionRequest) -> Completion:
        """One attempt, no retries. Raises `ProviderError` (may be retried) or `ProviderRefusedError`.

        Cancelling the call aborts the request on the wire."""
        ...

    def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        """The same attempt told while it is made: chunks, and as the last part the completion that `complete` would give.

        Raises as `complete` does, also after some chunks; what was told until then is no answer. Closing the generator, or
        cancelling who reads it, aborts the request on the wire. The request's time-out bounds the whole of it."""
        ...

    async def count_tokens(self, request: CompletionRequest) -> int: ...
