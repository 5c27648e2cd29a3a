"""Gemini through Google's SDK; also the local model server, which speaks the same wire format.

One call is one attempt: the SDK retries nothing unless told to. Its time-outs are in milliseconds.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Literal, TypeVar

import httpx2
from google import genai
from google.genai import errors, types
from pydantic import ValidationError

from shared.events.values import Usage
from shared.llm.endpoint import Endpoint
from shared.llm.failures import Failures
from shared.llm.prices import PriceTable
from shared.llm.streaming import abandon, until
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
STOPS: dict[str, Stop] = {"STOP": "end", "MAX_TOKENS": "max_tokens"}
REFUSALS = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY"})
TOOL_MODES = {
    "auto": types.FunctionCallingConfigMode.AUTO,
    "any": types.FunctionCallingConfigMode.ANY,
    "none": types.FunctionCallingConfigMode.NONE,
}
SIGNATURE_MARK = "|"
"""Gemini wants its opaque signature back with a call that it made; it travels inside the call's id, behind this mark."""


class GeminiModel:
    def __init__(self, endpoint: Endpoint, prices: PriceTable, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._prices = prices
        self._monotonic = monotonic
        self._failures = Failures("google", endpoint.api_key.get_secret_value())
        # Referenced for as long as this object lives: a collected client closes its connections under a running call.
        self._client = genai.Client(
            api_key=endpoint.key, vertexai=False, http_options=types.HttpOptions(base_url=endpoint.base_url or None)
        )

    async def complete(self, request: CompletionRequest) -> Completion:
        """One attempt. Raises `ProviderError` or `ProviderRefusedError`; cancelling closes the connection."""
        started = self._monotonic()
        answer = await self._call(request, self._client.aio.models.generate_content(**self._asked(request)))
        return self._completion(answer, request, self._monotonic() - started)

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        started, ends_at = self._monotonic(), asyncio.get_running_loop().time() + request.timeout_seconds
        whole = StreamedAnswer()
        with self._told(request):
            async with asyncio.timeout_at(ends_at):
                told = await self._client.aio.models.generate_content_stream(**self._asked(request))
            try:
                async with aclosing(until(told, ends_at)) as chunks:
                    async for chunk in chunks:
                        for part in whole.add(chunk):
                            yield part
            finally:
                await abandon(told)
            if not whole.has_ended:
                raise self._failures.unfinished(has_begun=whole.has_begun)
            yield self._completion(whole.answer, request, self._monotonic() - started)

    def _asked(self, request: CompletionRequest) -> dict[str, Any]:
        return {
            "model": self._endpoint.model_for(request.model),
            "contents": [_content(message) for message in request.messages],
            "config": self._config(request),
        }

    async def count_tokens(self, request: CompletionRequest) -> int:
        """The developer API counts contents only, so the system text is counted as one more content."""
        system = [types.Content(role="user", parts=[types.Part(text=request.system)])] if request.system else []
        counting = self._client.aio.models.count_tokens(
            model=self._endpoint.model_for(request.model),
            contents=[*system, *(_content(message) for message in request.messages)],
            config=types.CountTokensConfig(http_options=_options(request)),
        )
        counted = await self._call(request, counting)
        if counted.total_tokens is None:
            raise self._failures.invalid_answer("no token count in it")
        return counted.total_tokens

    async def close(self) -> None:
        await self._client.aio.aclose()

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
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise self._failures.timeout(request.timeout_seconds) from error
        except httpx2.TransportError as error:
            raise self._failures.connection(f"{type(error).__name__}: {error}") from error
        except errors.APIError as error:
            headers = getattr(error.response, "headers", None) or {}
            raise self._failures.of_status(int(error.code or 500), str(error.message or error.status or ""), headers) from error
        except (errors.UnknownApiResponseError, ValidationError, ValueError, TypeError, AttributeError) as error:
            # A 200 with a body of another shape comes out of the SDK as whatever broke first.
            raise self._failures.invalid_answer(f"{type(error).__name__}: {error}") from error

    def _config(self, request: CompletionRequest) -> types.GenerateContentConfig:
        config = types.GenerateContentConfig(
            system_instruction=request.system or None,
            max_output_tokens=request.max_tokens,
            temperature=(request.temperature or 0.0) if self._endpoint.is_local else request.temperature,
            seed=request.seed,
            http_options=_options(request),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        if request.json_schema is not None:
            config.response_mime_type = "application/json"
            config.response_json_schema = request.json_schema
        if request.tools:
            declared = [
                types.FunctionDeclaration(name=tool.name, description=tool.description, parameters_json_schema=tool.parameters)
                for tool in request.tools
            ]
            config.tools = [types.Tool(function_declarations=declared)]
            calling = types.FunctionCallingConfig(mode=TOOL_MODES[request.tool_choice])
            config.tool_config = types.ToolConfig(function_calling_config=calling)
        return config

    def _completion(self, answer: types.GenerateContentResponse, request: CompletionRequest, latency_seconds: float) -> Completion:
        headers = (answer.sdk_http_response.headers if answer.sdk_http_response else None) or {}
        provider = self._endpoint.provider_of(headers, "google")
        candidate = answer.candidates[0] if answer.candidates else None
        blocked = answer.prompt_feedback.block_reason if answer.prompt_feedback else None
        if candidate is None and blocked:
            raise self._failures.refused(f"the prompt was blocked: {_name(blocked)}")
        if candidate is None:
            raise self._failures.invalid_answer("it holds no candidate")
        parts = _parts(candidate)
        text = "".join(_text(part) for part in parts)
        calls = tuple(_tool_call(part, number) for number, part in enumerate(parts) if part.function_call)
        stop = _stop(_name(candidate.finish_reason), calls)
        self._check_content(text, calls, stop, _name(candidate.finish_reason))
        model = answer.model_version or self._endpoint.model_for(request.model)
        return Completion(
            text=text,
            tool_calls=calls,
            stop=stop,
            usage=self._prices.charged(provider, model, _usage(answer.usage_metadata)),
            provider=provider,
            model=model,
            latency_seconds=latency_seconds,
        )

    def _check_content(self, text: str, calls: tuple[ToolCall, ...], stop: Stop, reason: str) -> None:
        if text or calls or stop == "max_tokens":
            return
        if stop == "refused":
            raise self._failures.refused(f"the answer was blocked: {reason}")
        raise self._failures.invalid_answer("it is empty")


class StreamedAnswer:
    """The chunks of a stream, put together to the answer that they are pieces of."""

    def __init__(self) -> None:
        self.answer = types.GenerateContentResponse()
        self._parts: list[types.Part] = []

    def add(self, chunk: types.GenerateContentResponse) -> Iterator[StreamPart]:
        """What the chunk tells. Counts and the end come with later chunks and replace those of earlier ones."""
        candidate = chunk.candidates[0] if chunk.candidates else None
        for part in _parts(candidate) if candidate else ():
            self._parts.append(part)
            if text := _text(part):
                yield TextChunk(text=text)
            if part.function_call:
                yield ToolChunk(call=_tool_call(part, len(self._parts) - 1))
        known = {name: value for name in type(chunk).model_fields if (value := getattr(chunk, name)) is not None}
        if candidate is not None:
            content = types.Content(role="model", parts=list(self._parts))
            known["candidates"] = [candidate.model_copy(update={"content": content})]
        self.answer = self.answer.model_copy(update=known)

    @property
    def has_begun(self) -> bool:
        return bool(self.answer.candidates)

    @property
    def has_ended(self) -> bool:
        """The answer says why it ends, or that the prompt was blocked."""
        candidate = self.answer.candidates[0] if self.answer.candidates else None
        blocked = self.answer.prompt_feedback is not None and self.answer.prompt_feedback.block_reason is not None
        return blocked or (candidate is not None and candidate.finish_reason is not None)


def _parts(candidate: types.Candidate) -> list[types.Part]:
    return (candidate.content.parts if candidate.content else None) or []


def _text(part: types.Part) -> str:
    return part.text if part.text and not part.thought else ""


def _options(request: CompletionRequest) -> types.HttpOptions:
    return types.HttpOptions(timeout=max(1, round(request.timeout_seconds * 1000)))


def _name(value: Any) -> str:
    return str(getattr(value, "value", value) or "")


def _stop(reason: str, calls: tuple[ToolCall, ...]) -> Stop:
    if calls:
        return "tool_use"
    return "refused" if reason in REFUSALS else STOPS.get(reason, "other")


def _content(message: ChatMessage) -> types.Content:
    parts = [_answer_part(answer) for answer in message.tool_answers]
    if message.text or not (message.tool_answers or message.tool_calls):
        parts.append(types.Part(text=message.text))
    parts += [_call_part(call) for call in message.tool_calls]
    return types.Content(role="model" if message.role == "assistant" else "user", parts=parts)


def _answer_part(answer: ToolAnswer) -> types.Part:
    plain = answer.content if isinstance(answer.content, dict) else {"error" if answer.is_error else "result": answer.content}
    return types.Part(function_response=types.FunctionResponse(name=answer.name, response=plain))


def _call_part(call: ToolCall) -> types.Part:
    _, mark, signature = call.id.partition(SIGNATURE_MARK)
    return types.Part(
        function_call=types.FunctionCall(name=call.name, args=call.arguments),
        thought_signature=base64.b64decode(signature) if mark else None,
    )


def _tool_call(part: types.Part, number: int) -> ToolCall:
    call = part.function_call
    assert call is not None
    name = call.name or ""
    signature = SIGNATURE_MARK + base64.b64encode(part.thought_signature).decode() if part.thought_signature else ""
    return ToolCall(id=(call.id or f"call_{number}_{name}") + signature, name=name, arguments=dict(call.args or {}))


def _usage(counted: types.GenerateContentResponseUsageMetadata | None) -> Usage:
    """Thoughts are output that is paid for. Google's prompt count includes cached tokens already."""
    if counted is None:
        return Usage(calls=1)
    return Usage(
        calls=1,
        input_tokens=(counted.prompt_token_count or 0) + (counted.tool_use_prompt_token_count or 0),
        cached_input_tokens=counted.cached_content_token_count or 0,
        output_tokens=(counted.candidates_token_count or 0) + (counted.thoughts_token_count or 0),
    )
