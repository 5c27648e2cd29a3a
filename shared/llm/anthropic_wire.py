"""Anthropic's wire format, as the SDK gives and takes it: requests, answers, failures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, cast

import httpx2
from anthropic import APIConnectionError, APIResponseValidationError, APIStatusError, APITimeoutError, transform_schema
from anthropic.types import Message, ToolUseBlock

from shared.errors import EvolineError
from shared.events.values import Usage
from shared.llm.endpoint import Endpoint
from shared.llm.failures import Failures
from shared.llm.prices import PriceTable
from shared.pipeline.completion import (
    ChatMessage,
    Completion,
    CompletionRequest,
    StreamPart,
    TextChunk,
    ToolAnswer,
    ToolCall,
    ToolChunk,
)

Stop = Literal["end", "max_tokens", "tool_use", "refused", "other"]
STOPS: dict[str, Stop] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "tool_use": "tool_use",
    "refusal": "refused",
}


class AnthropicWire:
    def __init__(self, endpoint: Endpoint, prices: PriceTable) -> None:
        self.endpoint = endpoint
        self.failures = Failures("anthropic", endpoint.api_key.get_secret_value())
        self._prices = prices

    def body(self, request: CompletionRequest) -> dict[str, Any]:
        """Arguments of the SDK's `messages.create`."""
        body: dict[str, Any] = {
            "model": self.endpoint.model_for(request.model),
            "max_tokens": request.max_tokens,
            "messages": [_message(message) for message in request.messages],
        }
        if request.system:
            body["system"] = request.system
        if request.json_schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": self._schema(request.json_schema)}}
        if request.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in request.tools
            ]
            body["tool_choice"] = {"type": request.tool_choice}
        if self.endpoint.is_local:
            body["extra_body"] = {"temperature": request.temperature or 0.0} | (
                {} if request.seed is None else {"seed": request.seed}
            )
        return body

    def _schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Anthropic takes closed objects and few keywords; what it leaves out is validated by whoever reads the answer."""
        if self.endpoint.is_local:
            return schema
        try:
            return transform_schema(schema)
        except ValueError as error:
            raise self.failures.refused(f"this schema cannot be asked for: {error}") from error

    def completion(
        self, message: Message, headers: Mapping[str, str], latency_seconds: float, *, in_batch: bool = False
    ) -> Completion:
        """Raises where the message is no answer."""
        if not isinstance(message, Message) or not isinstance(message.content, list) or message.usage is None:
            raise self.failures.invalid_answer("not a message")
        text = "".join(block.text for block in message.content if block.type == "text")
        calls = tuple(tool_call_of(block) for block in message.content if block.type == "tool_use")
        stop = STOPS.get(message.stop_reason or "", "other")
        self._check_content(text, calls, stop)
        provider, model = self.endpoint.provider_of(headers, "anthropic"), str(message.model)
        return Completion(
            text=text,
            tool_calls=calls,
            stop=stop,
            usage=self._prices.charged(provider, model, _usage(message), in_batch=in_batch),
            provider=provider,
            model=model,
            latency_seconds=latency_seconds,
        )

    @contextmanager
    def told(self, seconds: float) -> Iterator[None]:
        """Failures of the SDK as our errors."""
        try:
            yield
        except (TimeoutError, APITimeoutError, httpx2.TimeoutException) as error:
            raise self.failures.timeout(seconds) from error
        except (APIConnectionError, httpx2.TransportError) as error:
            raise self.failures.connection(str(error.__cause__ or error) or type(error).__name__) from error
        except APIStatusError as error:
            raise self._of_status(error) from error
        except (APIResponseValidationError, ValueError, TypeError, RuntimeError) as error:
            # In a stream, events of another shape or order come out of the SDK as whatever broke first.
            raise self.failures.invalid_answer(str(error)) from error

    def _of_status(self, error: APIStatusError) -> EvolineError:
        """An error in the middle of a stream comes under the status 200 of its beginning."""
        if error.response.is_success:
            return self.failures.of_type(error.type or "", _reason(error))
        return self.failures.of_status(error.status_code, _reason(error), error.response.headers)

    def _check_content(self, text: str, calls: tuple[ToolCall, ...], stop: Stop) -> None:
        if text or calls or stop == "max_tokens":
            return
        if stop == "refused":
            raise self.failures.refused("the model refused to answer")
        raise self.failures.invalid_answer("it is empty")


def part_of(event: Any) -> StreamPart | None:
    """What an event of a stream tells; None where it tells nothing that lasts. The SDK makes a block whole when it ends."""
    if event.type == "text":
        return TextChunk(text=event.text)
    if event.type == "content_block_stop" and event.content_block.type == "tool_use":
        return ToolChunk(call=tool_call_of(event.content_block))
    return None


def tool_call_of(block: ToolUseBlock) -> ToolCall:
    return ToolCall(id=block.id, name=block.name, arguments=dict(cast("dict[str, Any]", block.input)))


def _message(message: ChatMessage) -> dict[str, Any]:
    content: list[dict[str, Any]] = [_tool_result(answer) for answer in message.tool_answers]
    if message.text or not (message.tool_answers or message.tool_calls):
        content.append({"type": "text", "text": message.text})
    content += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in message.tool_calls]
    return {"role": message.role, "content": content}


def _tool_result(answer: ToolAnswer) -> dict[str, Any]:
    content = answer.content if isinstance(answer.content, str) else json.dumps(answer.content, ensure_ascii=False)
    return {"type": "tool_result", "tool_use_id": answer.call_id, "content": content, "is_error": answer.is_error}


def _usage(message: Message) -> Usage:
    """Anthropic counts cached input apart; here `input_tokens` includes it."""
    counted = message.usage
    cached = counted.cache_read_input_tokens or 0
    return Usage(
        calls=1,
        input_tokens=counted.input_tokens + cached + (counted.cache_creation_input_tokens or 0),
        cached_input_tokens=cached,
        output_tokens=counted.output_tokens,
    )


def _reason(error: APIStatusError) -> str:
    return error.api_message or (error.response.text[:200] if error.response.is_closed else "") or type(error).__name__
