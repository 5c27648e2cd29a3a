"""Anthropic's Messages format (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any

from evoline.model_server.chat import ChatAnswer, ChatRequest, Refusal, RequestRefusedError, Role, ToolDefinition, Turn, invalid
from evoline.model_server.formats.fields import as_object, in_range, optional, positive, required, texts

STOPS = {"end": "end_turn", "max_tokens": "max_tokens", "tool_use": "tool_use"}
ERRORS: dict[Refusal, tuple[int, str]] = {
    "invalid": (400, "invalid_request_error"),
    "not_found": (404, "not_found_error"),
    "too_large": (413, "request_too_large"),
    "overloaded": (529, "overloaded_error"),
    "failed": (500, "api_error"),
}
ROLES: tuple[Role, ...] = ("user", "assistant")


class AnthropicFormat:
    def read(self, body: Any, model: str, *, stream: bool) -> ChatRequest:
        body = as_object(body, "body")
        tools = _tools(optional(body, "tools", list) or [])
        return ChatRequest(
            model=model,
            turns=_turns(body),
            max_tokens=positive(optional(body, "max_tokens", int), 512, "max_tokens"),
            temperature=in_range(optional(body, "temperature", float), "temperature"),
            seed=optional(body, "seed", int),
            stop_sequences=texts(body.get("stop_sequences"), "stop_sequences"),
            schema=_schema(optional(body, "output_config", dict) or {}),
            tools=() if _choice(body)[0] == "none" else tools,
            forced_tools=_forced(body, tools),
            stream=stream,
        )

    def count(self, tokens: int) -> dict[str, Any]:
        return {"input_tokens": tokens}

    def answer(self, answer: ChatAnswer, model: str) -> dict[str, Any]:
        return _message(model) | {"content": _content(answer), "stop_reason": STOPS[answer.stop], "usage": _usage(answer)}

    def opening_events(self, model: str) -> Iterable[bytes]:
        yield _event({"type": "message_start", "message": _message(model)})

    def text_event(self, text: str, model: str) -> bytes:
        return _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    def closing_events(self, answer: ChatAnswer, model: str, *, text_was_sent: bool) -> Iterable[bytes]:
        if not text_was_sent:
            yield from _whole_block(answer)
        yield _event({"type": "content_block_stop", "index": 0})
        delta = {"stop_reason": STOPS[answer.stop], "stop_sequence": None}
        yield _event({"type": "message_delta", "delta": delta, "usage": _usage(answer)})
        yield _event({"type": "message_stop"})

    def first_text_event(self) -> bytes:
        return _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})

    def error(self, error: RequestRefusedError) -> tuple[int, dict[str, Any]]:
        status, kind = ERRORS[error.refusal]
        return status, {"type": "error", "error": {"type": kind, "message": str(error)}}

    def error_event(self, error: RequestRefusedError) -> bytes:
        return _event(self.error(error)[1])


def _turns(body: dict[str, Any]) -> tuple[Turn, ...]:
    messages = required(body, "messages", list)
    if not messages:
        raise invalid("messages: at least one message is required")
    system = body.get("system")
    turns = [Turn("system", _text(system, "system"))] if system else []
    for number, item in enumerate(messages):
        path = f"messages.{number}"
        message = as_object(item, path)
        role = required(message, "role", str, path + ".")
        if role not in ROLES:
            raise invalid(f"{path}.role: must be user or assistant")
        turns.append(Turn(role, _text(message.get("content"), path + ".content")))
    return tuple(turns)


def _text(content: Any, path: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid(f"{path}: must be a string or an array of blocks")
    return "\n".join(_block_text(as_object(block, f"{path}.{number}"), f"{path}.{number}") for number, block in enumerate(content))


def _block_text(block: dict[str, Any], path: str) -> str:
    kind = block.get("type")
    if kind == "text":
        return str(required(block, "text", str, path + "."))
    if kind == "tool_use":
        return json.dumps({"name": block.get("name"), "arguments": block.get("input") or {}}, ensure_ascii=False)
    if kind == "tool_result":
        return "Tool result: " + _text(block.get("content") or "", path + ".content")
    raise invalid(f"{path}.type: this model reads text, tool_use and tool_result, not {kind!r}")


def _tools(listed: list[Any]) -> tuple[ToolDefinition, ...]:
    tools = []
    for number, item in enumerate(listed):
        path = f"tools.{number}"
        tool = as_object(item, path)
        schema = optional(tool, "input_schema", dict, path + ".") or {"type": "object", "properties": {}}
        description = optional(tool, "description", str, path + ".") or ""
        tools.append(ToolDefinition(required(tool, "name", str, path + "."), description, schema))
    return tuple(tools)


def _choice(body: dict[str, Any]) -> tuple[str, str]:
    choice = optional(body, "tool_choice", dict) or {}
    return str(choice.get("type", "auto")), str(choice.get("name", ""))


def _forced(body: dict[str, Any], tools: tuple[ToolDefinition, ...]) -> tuple[str, ...]:
    kind, name = _choice(body)
    names = tuple(tool.name for tool in tools)
    if kind == "tool" and name not in names:
        raise invalid(f"tool_choice.name: no tool is called {name!r}")
    return {"tool": (name,), "any": names}.get(kind, ())


def _schema(output_config: dict[str, Any]) -> dict[str, Any] | None:
    wanted = optional(output_config, "format", dict, "output_config.")
    if wanted is None:
        return None
    if wanted.get("type") != "json_schema":
        raise invalid("output_config.format.type: must be json_schema")
    schema: dict[str, Any] = required(wanted, "schema", dict, "output_config.format.")
    return schema


def _message(model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _content(answer: ChatAnswer) -> list[dict[str, Any]]:
    if answer.tool:
        call_id = f"toolu_{uuid.uuid4().hex[:16]}"
        return [{"type": "tool_use", "id": call_id, "name": answer.tool.name, "input": answer.tool.arguments}]
    return [{"type": "text", "text": answer.text}]


def _usage(answer: ChatAnswer) -> dict[str, int]:
    """Anthropic counts cached input apart."""
    spent = answer.spent
    return {
        "input_tokens": spent.input_tokens - spent.cached_tokens,
        "cache_read_input_tokens": spent.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": spent.output_tokens,
    }


def _whole_block(answer: ChatAnswer) -> Iterable[bytes]:
    block = _content(answer)[0]
    if answer.tool:
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"], ensure_ascii=False)}
        block = {**block, "input": {}}
    else:
        delta = {"type": "text_delta", "text": answer.text}
        block = {"type": "text", "text": ""}
    yield _event({"type": "content_block_start", "index": 0, "content_block": block})
    yield _event({"type": "content_block_delta", "index": 0, "delta": delta})


def _event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
