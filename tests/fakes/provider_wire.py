"""The two wire formats as the stand-in reads and writes them: kept apart from its faults."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

Format = Literal["anthropic", "gemini"]


@dataclass(frozen=True)
class Asked:
    format: Format
    messages: list[dict[str, str]]
    schema: dict[str, Any] | None
    stream: bool
    counting: bool


@dataclass(frozen=True)
class Answered:
    text: str
    model: str
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    stop: str = "end"
    cached_tokens: int = 0
    blocked: bool = False


def read(path: str, body: dict[str, Any]) -> Asked:
    if path.split("?", maxsplit=1)[0].startswith("/v1/messages"):
        schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
        return Asked("anthropic", _anthropic_messages(body), schema, bool(body.get("stream")), "count_tokens" in path)
    schema = (body.get("generationConfig") or {}).get("responseJsonSchema")
    return Asked("gemini", _gemini_messages(body), schema, "streamGenerateContent" in path, "countTokens" in path)


def _anthropic_messages(body: dict[str, Any]) -> list[dict[str, str]]:
    system = [{"role": "system", "text": _anthropic_text(body["system"])}] if body.get("system") else []
    return system + [{"role": message["role"], "text": _anthropic_text(message["content"])} for message in body["messages"]]


def _anthropic_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text") or json.dumps(block.get("content") or block.get("input") or "") for block in content)


def _gemini_messages(body: dict[str, Any]) -> list[dict[str, str]]:
    system = body.get("systemInstruction")
    first = [{"role": "system", "text": _gemini_text(system)}] if system else []
    roles = {"model": "assistant"}
    return first + [{"role": roles.get(item.get("role"), "user"), "text": _gemini_text(item)} for item in body.get("contents", [])]


def _gemini_text(content: dict[str, Any]) -> str:
    return "\n".join(part.get("text") or json.dumps(part) for part in content.get("parts", []))


def tokens(asked: Asked) -> int:
    """Four characters a token: near enough for tests of counting."""
    return max(1, sum(len(message["text"]) for message in asked.messages) // 4)


def count(asked: Asked) -> dict[str, Any]:
    return {"input_tokens": tokens(asked)} if asked.format == "anthropic" else {"totalTokens": tokens(asked)}


def models(path: str, model: str) -> dict[str, Any]:
    if path.startswith("/v1/models"):
        listed = {"type": "model", "id": model, "display_name": model, "created_at": "2026-01-01T00:00:00Z"}
        return {"data": [listed], "has_more": False, "first_id": model, "last_id": model}
    return {"models": [{"name": f"models/{model}", "supportedGenerationMethods": ["generateContent", "countTokens"]}]}


def error(asked: Asked, status: int, message: str) -> dict[str, Any]:
    if asked.format == "anthropic":
        return anthropic_error(status, message)
    kinds = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
    return {"error": {"code": status, "message": message, "status": kinds.get(status, "INTERNAL")}}


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        404: "not_found_error",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}}


def answer(asked: Asked, given: Answered) -> dict[str, Any]:
    return _anthropic(asked, given) if asked.format == "anthropic" else _gemini(asked, given)


def _anthropic(asked: Asked, given: Answered) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": given.text}] if given.text else []
    if given.tool:
        content.append({"type": "tool_use", "id": "toolu_1", "name": given.tool, "input": given.arguments})
    stop = "tool_use" if given.tool else {"end": "end_turn", "max_tokens": "max_tokens"}[given.stop]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": given.model,
        "content": content,
        "stop_reason": "refusal" if given.blocked else stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens(asked),
            "cache_read_input_tokens": given.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": max(1, len(given.text) // 4),
        },
    }


def _gemini(asked: Asked, given: Answered) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": given.text}] if given.text else []
    if given.tool:
        parts.append({"functionCall": {"name": given.tool, "args": given.arguments}})
    reason = "SAFETY" if given.blocked else {"end": "STOP", "max_tokens": "MAX_TOKENS"}[given.stop]
    prompt_tokens, output_tokens = tokens(asked) + given.cached_tokens, max(1, len(given.text) // 4)
    return {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": reason}],
        "usageMetadata": {
            "promptTokenCount": prompt_tokens,
            "cachedContentTokenCount": given.cached_tokens,
            "candidatesTokenCount": output_tokens,
            "totalTokenCount": prompt_tokens + output_tokens,
        },
        "modelVersion": given.model,
        "responseId": "response_1",
    }


def events(asked: Asked, given: Answered) -> list[bytes]:
    whole = answer(asked, given)
    if asked.format == "gemini":
        return [_data(chunk) for chunk in _gemini_chunks(whole)]
    listed: list[dict[str, Any]] = [{"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}]
    for number, block in enumerate(whole["content"]):
        listed += _block_events(number, block)
    listed.append(
        {"type": "message_delta", "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None}, "usage": whole["usage"]}
    )
    listed.append({"type": "message_stop"})
    return [_event(event) for event in listed]


def error_event(asked: Asked, kind: str, message: str) -> bytes:
    if asked.format == "anthropic":
        return _event({"type": "error", "error": {"type": kind, "message": message}})
    return _data(error(asked, int(kind), message))


def invalid_event(asked: Asked) -> bytes:
    name = b"event: content_block_delta\n" if asked.format == "anthropic" else b""
    return name + b'data: {"type": "content_block_delta", "ind\n\n'


def wrong_event(asked: Asked) -> bytes:
    return (b"event: message_start\n" if asked.format == "anthropic" else b"") + b'data: {"unexpected": true}\n\n'


def _event(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _data(chunk: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n"


def _gemini_chunks(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Text word by word; the end and the counts come with the last chunk."""
    (candidate,) = whole["candidates"]
    pieces: list[dict[str, Any]] = []
    for part in candidate["content"]["parts"]:
        pieces += [{"text": word} for word in _words(part["text"])] if "text" in part else [part]
    names = {"modelVersion": whole["modelVersion"], "responseId": whole["responseId"]}
    chunks = [{"candidates": [{"index": 0, "content": {"role": "model", "parts": [piece]}}], **names} for piece in pieces[:-1]]
    return [*chunks, {**whole, "candidates": [{**candidate, "content": {"role": "model", "parts": pieces[-1:]}}]}]


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"(?<= )", text) if word]


def _block_events(number: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    start: dict[str, Any]
    if block["type"] == "text":
        start, deltas = {"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in _words(block["text"])]
    else:
        start, deltas = {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    return [
        {"type": "content_block_start", "index": number, "content_block": start},
        *({"type": "content_block_delta", "index": number, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": number},
    ]


def smallest_value(schema: dict[str, Any]) -> Any:
    """The plainest value that fits: first of an enum, empty strings and lists, zeros, required properties only."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "object" or "properties" in schema:
        required = schema.get("required", [])
        return {name: smallest_value(inner) for name, inner in schema.get("properties", {}).items() if name in required}
    plain: dict[str, Any] = {"string": "", "number": 0, "integer": 0, "boolean": False, "array": []}
    return plain.get(str(schema.get("type")))
