"""The two wire formats of the local model server, behind one protocol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from evoline.model_server.chat import ChatAnswer, ChatRequest, RequestRefusedError


class WireFormat(Protocol):
    """Reads requests and writes answers, streams and errors of one provider. `model` is the served model's name."""

    def read(self, body: Any, model: str, *, stream: bool) -> ChatRequest:
        """Raises `RequestRefusedError` that says which field is wrong."""
        ...

    def count(self, tokens: int) -> dict[str, Any]: ...
    def answer(self, answer: ChatAnswer, model: str) -> dict[str, Any]: ...
    def opening_events(self, model: str) -> Iterable[bytes]: ...
    def first_text_event(self) -> bytes:
        """What goes before the first piece of text; may be empty."""
        ...

    def text_event(self, text: str, model: str) -> bytes: ...
    def closing_events(self, answer: ChatAnswer, model: str, *, text_was_sent: bool) -> Iterable[bytes]: ...
    def error(self, error: RequestRefusedError) -> tuple[int, dict[str, Any]]:
        """(HTTP status, body)"""
        ...

    def error_event(self, error: RequestRefusedError) -> bytes: ...
