"""Claude through Anthropic's SDK; also the local model server, which speaks the same wire format.

One call is one attempt: the SDK's own retries are off, so that attempts are counted in one place. Anthropic's models take no
temperature and no seed; the local server does, beside the SDK's own parameters.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Literal, TypeVar, cast

import httpx2
from anthropic import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    AsyncAnthropic,
    DefaultAsyncHttpxClient,
    transform_schema,
)
from anthropic.types import Message, MessageTokensCount, ToolUseBlock

from shared.errors import EvolineError
from shared.events.values import Usage
from shared.llm.endpoint import Endpoint
from shared.llm.failures import Failures
from shared.llm.prices import PriceTable
from shared.llm.spreading import Spreading
from shared.llm.streaming import until
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

T = TypeVar("T")
Stop = Literal["end", "max_tokens", "tool_use", "refused", "other"]
STOPS: dict[str, Stop] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "tool_use": "tool_use",
    "refusal": "refused",
}


class AnthropicModel:
    def __init__(self, endpoint: Endpoint, prices: PriceTable, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._prices = prices
        self._monotonic = monotonic
        self._failures = Failures("anthropic", endpoint.api_key.get_secret_value())
        self._tls = httpx2.create_ssl_context()
        self._spreading = Spreading(self._new_client)

    async def complete(self, request: CompletionRequest) -> Completion:
        """One attempt. Raises `ProviderError` or `ProviderRefusedError`; cancelling closes the connection."""
        started = self._monotonic()
        message, headers = await self._call(request, self._exchange(request))
        provider = self._endpoint.provider_of(headers, "anthropic")
        return self._completion(message, provider, self._monotonic() - started)

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        started, ends_at = self._monotonic(), asyncio.get_running_loop().time() + request.timeout_seconds
        with self._told(request), self._spreading.client() as client:
            streaming = client.messages.stream(**self._body(request), timeout=request.timeout_seconds)
            async with asyncio.timeout_at(ends_at):
                told = await streaming.__aenter__()
            seen: set[str] = set()
            try:
                async with aclosing(until(aiter(told), ends_at)) as events:
                    async for event in events:
                        seen.add(event.type)
                        if (part := _part(event)) is not None:
                            yield part
            finally:
                await told.close()
            if "message_stop" not in seen:
                raise self._failures.unfinished(has_begun="content_block_start" in seen)
            provider = self._endpoint.provider_of(told.response.headers, "anthropic")
            yield self._completion(told.current_message_snapshot, provider, self._monotonic() - started)

    def _new_client(self) -> AsyncAnthropic:
        # A context of its own would cost each client the reading of all root certificates.
        connections = DefaultAsyncHttpxClient(verify=self._tls)
        return AsyncAnthropic(
            api_key=self._endpoint.key, base_url=self._endpoint.base_url or None, max_retries=0, http_client=connections
        )

    async def _exchange(self, request: CompletionRequest) -> tuple[Message, Mapping[str, str]]:
        with self._spreading.client() as client:
            create = client.messages.with_raw_response.create
            raw: Any = await create(**self._body(request), timeout=request.timeout_seconds)
            return cast("Message", await raw.parse()), raw.headers

    async def count_tokens(self, request: CompletionRequest) -> int:
        body = {name: value for name, value in self._body(request).items() if name not in {"max_tokens", "extra_body"}}
        first = self._spreading.clients[0]
        counting: Awaitable[MessageTokensCount] = first.messages.count_tokens(**body, timeout=request.timeout_seconds)
        counted = await self._call(request, counting)
        if not isinstance(getattr(counted, "input_tokens", None), int):
            raise self._failures.invalid_answer("no token count in it")
        return counted.input_tokens

    async def close(self) -> None:
        for client in self._spreading.clients:
            await client.close()

    async def _call(self, request: CompletionRequest, call: Awaitable[T]) -> T:
        """The SDK's time-out starts anew with every byte; ours bounds the whole call."""
        with self._told(request):
            async with asyncio.timeout(request.timeout_seconds):
                return await call

    @contextmanager
    def _told(self, request: CompletionRequest) -> Iterator[None]:
        """Failures of the SDK as our errors."""
        try:
            yield
        except (TimeoutError, APITimeoutError, httpx2.TimeoutException) as error:
            raise self._failures.timeout(request.timeout_seconds) from error
        except (APIConnectionError, httpx2.TransportError) as error:
            raise self._failures.connection(str(error.__cause__ or error) or type(error).__name__) from error
        except APIStatusError as error:
            raise self._of_status(error) from error
        except (APIResponseValidationError, ValueError, TypeError, RuntimeError) as error:
            # In a stream, events of another shape or order come out of the SDK as whatever broke first.
            raise self._failures.invalid_answer(str(error)) from error

    def _of_status(self, error: APIStatusError) -> EvolineError:
        """An error in the middle of a stream comes under the status 200 of its beginning."""
        if error.response.is_success:
            return self._failures.of_type(error.type or "", _reason(error))
        return self._failures.of_status(error.status_code, _reason(error), error.response.headers)

    def _body(self, request: CompletionRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._endpoint.model_for(request.model),
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
        if self._endpoint.is_local:
            body["extra_body"] = {"temperature": request.temperature or 0.0} | (
                {} if request.seed is None else {"seed": request.seed}
            )
        return body

    def _schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Anthropic takes closed objects and few keywords; what it leaves out is validated by whoever reads the answer."""
        if self._endpoint.is_local:
            return schema
        try:
            return transform_schema(schema)
        except ValueError as error:
            raise self._failures.refused(f"this schema cannot be asked for: {error}") from error

    def _completion(self, message: Message, provider: str, latency_seconds: float) -> Completion:
        if not isinstance(message, Message) or not isinstance(message.content, list) or message.usage is None:
            raise self._failures.invalid_answer("not a message")
        text = "".join(block.text for block in message.content if block.type == "text")
        calls = tuple(_tool_call(block) for block in message.content if block.type == "tool_use")
        stop = STOPS.get(message.stop_reason or "", "other")
        self._check_content(text, calls, stop)
        model = str(message.model)
        return Completion(
            text=text,
            tool_calls=calls,
            stop=stop,
            usage=self._prices.charged(provider, model, _usage(message)),
            provider=provider,
            model=model,
            latency_seconds=latency_seconds,
        )

    def _check_content(self, text: str, calls: tuple[ToolCall, ...], stop: Stop) -> None:
        if text or calls or stop == "max_tokens":
            return
        if stop == "refused":
            raise self._failures.refused("the model refused to answer")
        raise self._failures.invalid_answer("it is empty")


def _part(event: Any) -> StreamPart | None:
    """What an event of a stream tells; None where it tells nothing that lasts. The SDK makes a block whole when it ends."""
    if event.type == "text":
        return TextChunk(text=event.text)
    if event.type == "content_block_stop" and event.content_block.type == "tool_use":
        return ToolChunk(call=_tool_call(event.content_block))
    return None


def _tool_call(block: ToolUseBlock) -> ToolCall:
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
