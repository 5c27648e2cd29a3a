"""Google's Gemini format (https://ai.google.dev/api/generate-content). Field names come in camel and, in places, in snake case."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from typing import Any

from evoline.model_server.chat import ChatAnswer, ChatRequest, Refusal, RequestRefusedError, ToolDefinition, Turn, invalid
from evoline.model_server.formats.fields import as_object, in_range, optional, positive, required, texts

STOPS = {"end": "STOP", "max_tokens": "MAX_TOKENS", "tool_use": "STOP"}
ERRORS: dict[Refusal, tuple[int, str]] = {
    "invalid": (400, "INVALID_ARGUMENT"),
    "not_found": (404, "NOT_FOUND"),
    "too_large": (413, "INVALID_ARGUMENT"),
    "overloaded": (503, "UNAVAILABLE"),
    "failed": (500, "INTERNAL"),
}
NOT_JSON_SCHEMA = frozenset({"propertyOrdering", "nullable", "example"})
NESTED = frozenset({"generationConfig", "toolConfig", "functionCallingConfig", "generateContentRequest"})
NO_ARGUMENTS = {"type": "object", "properties": {}}


class GeminiFormat:
    def read(self, body: Any, model: str, *, stream: bool) -> ChatRequest:
        body = camel(as_object(body, "body"))
        body = body.get("generateContentRequest") or body
        wanted = optional(body, "generationConfig", dict) or {}
        tools = _tools(optional(body, "tools", list) or [])
        mode, allowed = _calling(body)
        names = tuple(tool.name for tool in tools if not allowed or tool.name in allowed)
        return ChatRequest(
            model=model,
            turns=_turns(body),
            max_tokens=positive(optional(wanted, "maxOutputTokens", int), 512, "generationConfig.maxOutputTokens"),
            temperature=in_range(optional(wanted, "temperature", float), "generationConfig.temperature"),
            seed=optional(wanted, "seed", int),
            stop_sequences=texts(wanted.get("stopSequences"), "generationConfig.stopSequences"),
            schema=_schema(wanted),
            tools=() if mode == "NONE" else tools,
            forced_tools=names if mode == "ANY" else (),
            stream=stream,
        )

    def count(self, tokens: int) -> dict[str, Any]:
        return {"totalTokens": tokens}

    def answer(self, answer: ChatAnswer, model: str) -> dict[str, Any]:
        return _response([_part(answer)], model) | {
            "candidates": [_candidate([_part(answer)], STOPS[answer.stop])],
            "usageMetadata": _usage(answer),
        }

    def opening_events(self, model: str) -> Iterable[bytes]:
        return ()

    def text_event(self, text: str, model: str) -> bytes:
        return _event(_response([{"text": text}], model))

    def closing_events(self, answer: ChatAnswer, model: str, *, text_was_sent: bool) -> Iterable[bytes]:
        parts = [{"text": ""}] if text_was_sent else [_part(answer)]
        last = _response(parts, model) | {"candidates": [_candidate(parts, STOPS[answer.stop])], "usageMetadata": _usage(answer)}
        yield _event(last)

    def first_text_event(self) -> bytes:
        return b""

    def error(self, error: RequestRefusedError) -> tuple[int, dict[str, Any]]:
        status, name = ERRORS[error.refusal]
        return status, {"error": {"code": status, "message": str(error), "status": name}}

    def error_event(self, error: RequestRefusedError) -> bytes:
        return _event(self.error(error)[1])


def camel(body: dict[str, Any]) -> dict[str, Any]:
    """Names of the format's own fields in camel case; what the user named (arguments, properties) stays as it is."""
    named = {_camel(name): value for name, value in body.items()}
    return {name: camel(value) if name in NESTED and isinstance(value, dict) else value for name, value in named.items()}


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _turns(body: dict[str, Any]) -> tuple[Turn, ...]:
    contents = required(body, "contents", list)
    if not contents:
        raise invalid("contents: at least one content is required")
    system = optional(body, "systemInstruction", dict)
    turns = [Turn("system", _text(system, "systemInstruction"))] if system else []
    for number, item in enumerate(contents):
        path = f"contents[{number}]"
        content = as_object(item, path)
        role = optional(content, "role", str, path + ".") or "user"
        if role not in {"user", "model", "function"}:
            raise invalid(f"{path}.role: must be user or model")
        turns.append(Turn("assistant" if role == "model" else "user", _text(content, path)))
    return tuple(turns)


def _text(content: dict[str, Any], path: str) -> str:
    parts = optional(content, "parts", list, path + ".") or []
    return "\n".join(_part_text(as_object(part, f"{path}.parts[{n}]"), f"{path}.parts[{n}]") for n, part in enumerate(parts))


def _part_text(part: dict[str, Any], path: str) -> str:
    part = camel(part)
    if "text" in part:
        return str(required(part, "text", str, path + "."))
    if "functionCall" in part:
        call = as_object(part["functionCall"], path)
        return json.dumps({"name": call.get("name"), "arguments": call.get("args") or {}}, ensure_ascii=False)
    if "functionResponse" in part:
        response = as_object(part["functionResponse"], path)
        return "Tool result: " + json.dumps(response.get("response"), ensure_ascii=False)
    raise invalid(f"{path}: this model reads text, functionCall and functionResponse only")


def _tools(listed: list[Any]) -> tuple[ToolDefinition, ...]:
    tools = []
    for number, group in enumerate(listed):
        declared = camel(as_object(group, f"tools[{number}]"))
        for place, item in enumerate(optional(declared, "functionDeclarations", list, f"tools[{number}].") or []):
            path = f"tools[{number}].functionDeclarations[{place}]"
            function = camel(as_object(item, path))
            schema = function.get("parametersJsonSchema") or plain_schema(function.get("parameters")) or NO_ARGUMENTS
            description = optional(function, "description", str, path + ".") or ""
            tools.append(ToolDefinition(required(function, "name", str, path + "."), description, as_object(schema, path)))
    return tuple(tools)


def _calling(body: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    calling = (optional(body, "toolConfig", dict) or {}).get("functionCallingConfig") or {}
    return str(calling.get("mode", "AUTO")), texts(calling.get("allowedFunctionNames"), "allowedFunctionNames")


def _schema(wanted: dict[str, Any]) -> dict[str, Any] | None:
    schema = wanted.get("responseJsonSchema") or plain_schema(wanted.get("responseSchema"))
    if schema:
        return as_object(schema, "generationConfig.responseJsonSchema")
    return {} if wanted.get("responseMimeType") == "application/json" else None


def plain_schema(schema: Any) -> Any:
    """Google's own schema dialect as JSON Schema: types in lower case, `nullable` and ordering hints left out."""
    if isinstance(schema, list):
        return [plain_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _plain_keyword(name, value) for name, value in schema.items() if name not in NOT_JSON_SCHEMA}


def _plain_keyword(name: str, value: Any) -> Any:
    if name == "type" and isinstance(value, str):
        return value.lower()
    if name == "properties" and isinstance(value, dict):
        return {property_name: plain_schema(schema) for property_name, schema in value.items()}
    return value if name in {"enum", "default", "required"} else plain_schema(value)


def _part(answer: ChatAnswer) -> dict[str, Any]:
    if answer.tool:
        return {"functionCall": {"name": answer.tool.name, "args": answer.tool.arguments}}
    return {"text": answer.text}


def _candidate(parts: list[dict[str, Any]], reason: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    return candidate | ({"finishReason": reason} if reason else {})


def _response(parts: list[dict[str, Any]], model: str) -> dict[str, Any]:
    return {"candidates": [_candidate(parts)], "modelVersion": model, "responseId": uuid.uuid4().hex}


def _usage(answer: ChatAnswer) -> dict[str, int]:
    spent = answer.spent
    return {
        "promptTokenCount": spent.input_tokens,
        "cachedContentTokenCount": spent.cached_tokens,
        "candidatesTokenCount": spent.output_tokens,
        "totalTokenCount": spent.input_tokens + spent.output_tokens,
    }


def _event(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
