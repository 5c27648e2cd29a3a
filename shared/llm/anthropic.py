"""Claude through Anthropic's SDK; also the local model server, which speaks the same wire format.

One call is one attempt: the SDK's own retries are off, so that attempts are counted in one place. Anthropic's models take no
temperature and no seed; the local server does, beside the SDK's own parameters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar, cast

import httpx2
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
from anthropic.types import Message, MessageTokensCount

from shared.llm.anthropic_batches import AnthropicBatches
from shared.llm.anthropic_wire import AnthropicWire, part_of
from shared.llm.endpoint import Endpoint
from shared.llm.prices import PriceTable
from shared.llm.spreading import Spreading
from shared.llm.streaming import until
from shared.pipeline.batches import MessageBatches
from shared.pipeline.completion import Completion, CompletionRequest, StreamPart

T = TypeVar("T")


class AnthropicModel:
    def __init__(self, endpoint: Endpoint, prices: PriceTable, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._monotonic = monotonic
        self._wire = AnthropicWire(endpoint, prices)
        self._tls = httpx2.create_ssl_context()
        self._spreading = Spreading(self._new_client)

    async def complete(self, request: CompletionRequest) -> Completion:
        """One attempt. Raises `ProviderError` or `ProviderRefusedError`; cancelling closes the connection."""
        started = self._monotonic()
        message, headers = await self._call(request, self._exchange(request))
        return self._wire.completion(message, headers, self._monotonic() - started)

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        started, ends_at = self._monotonic(), asyncio.get_running_loop().time() + request.timeout_seconds
        with self._wire.told(request.timeout_seconds), self._spreading.client() as client:
            streaming = client.messages.stream(**self._wire.body(request), timeout=request.timeout_seconds)
            async with asyncio.timeout_at(ends_at):
                told = await streaming.__aenter__()
            seen: set[str] = set()
            try:
                async with aclosing(until(aiter(told), ends_at)) as events:
                    async for event in events:
                        seen.add(event.type)
                        if (part := part_of(event)) is not None:
                            yield part
            finally:
                await told.close()
            if "message_stop" not in seen:
                raise self._wire.failures.unfinished(has_begun="content_block_start" in seen)
            message, headers = told.current_message_snapshot, told.response.headers
            yield self._wire.completion(message, headers, self._monotonic() - started)

    def _new_client(self) -> AsyncAnthropic:
        # A context of its own would cost each client the reading of all root certificates.
        connections = DefaultAsyncHttpxClient(verify=self._tls)
        return AsyncAnthropic(
            api_key=self._endpoint.key, base_url=self._endpoint.base_url or None, max_retries=0, http_client=connections
        )

    async def _exchange(self, request: CompletionRequest) -> tuple[Message, Mapping[str, str]]:
        with self._spreading.client() as client:
            create = client.messages.with_raw_response.create
            raw: Any = await create(**self._wire.body(request), timeout=request.timeout_seconds)
            return cast("Message", await raw.parse()), raw.headers

    async def count_tokens(self, request: CompletionRequest) -> int:
        body = {name: value for name, value in self._wire.body(request).items() if name not in {"max_tokens", "extra_body"}}
        first = self._spreading.clients[0]
        counting: Awaitable[MessageTokensCount] = first.messages.count_tokens(**body, timeout=request.timeout_seconds)
        counted = await self._call(request, counting)
        if not isinstance(getattr(counted, "input_tokens", None), int):
            raise self._wire.failures.invalid_answer("no token count in it")
        return counted.input_tokens

    async def batches(self) -> MessageBatches | None:
        """None for the local model server, which answers at once and has no such interface."""
        return None if self._endpoint.is_own_server else AnthropicBatches(self._wire, self._spreading)

    async def close(self) -> None:
        for client in self._spreading.clients:
            await client.close()

    async def _call(self, request: CompletionRequest, call: Awaitable[T]) -> T:
        """The SDK's time-out starts anew with every byte; ours bounds the whole call."""
        with self._wire.told(request.timeout_seconds):
            async with asyncio.timeout(request.timeout_seconds):
                return await call
