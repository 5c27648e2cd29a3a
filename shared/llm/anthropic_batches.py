"""Anthropic's Message Batches through its SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from anthropic import APIStatusError, AsyncAnthropic
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from anthropic.types.messages.batch_create_params import Request

from shared.errors import EvolineError, ProviderError, ProviderRefusedError
from shared.llm.anthropic_wire import AnthropicWire
from shared.llm.spreading import Spreading
from shared.pipeline.batches import Answered
from shared.pipeline.completion import CompletionRequest

CALL_SECONDS = 60.0
"""One call of the interface; handing over or reading many requests takes longer than a poll."""
CLOCK_SLACK = timedelta(minutes=2)
"""How far the provider's clock may be behind ours."""
MOST_LOOKED_AT = 20
"""Batches that `find` reads from, newest first."""
NO_INTERFACE = frozenset({404, 405, 501})
ADVICE = "this endpoint has no batch interface: use `mode: parallel`"


class AnthropicBatches:
    def __init__(self, wire: AnthropicWire, spreading: Spreading[AsyncAnthropic]) -> None:
        self._wire = wire
        self._spreading = spreading

    async def submit(self, requests: Mapping[str, CompletionRequest]) -> str:
        asked = [Request(custom_id=name, params=self._params(request)) for name, request in requests.items()]
        async with self._client() as client:
            with self._advising():
                batch = await client.messages.batches.create(requests=asked)
            return self._checked(batch).id

    async def find(self, prefix: str, size: int, since: datetime) -> str | None:
        looked_at = count()
        async with self._client() as client:
            with self._advising():
                listed = await client.messages.batches.list(limit=100)
            async for batch in listed:
                if self._checked(batch).created_at < since - CLOCK_SLACK or next(looked_at) >= MOST_LOOKED_AT:
                    return None
                if _size(batch) == size and batch.processing_status == "ended":
                    first = await self._first_id(client, batch.id)
                    if first is not None and first.startswith(prefix):
                        return batch.id
        return None

    async def has_ended(self, batch_id: str) -> bool:
        async with self._client() as client:
            batch = await client.messages.batches.retrieve(batch_id)
            return self._checked(batch).processing_status == "ended"

    async def results(self, batch_id: str) -> Mapping[str, Answered]:
        async with self._client() as client:
            lines = await client.messages.batches.results(batch_id)
            headers = lines.http_response.headers
            return {line.custom_id: self._answered(line, headers) async for line in lines}

    async def cancel(self, batch_id: str) -> None:
        async with self._client() as client:
            try:
                await client.messages.batches.cancel(batch_id)
            except APIStatusError as error:
                # One that has ended, or is gone, needs no end.
                if error.status_code not in (404, 409, 400):
                    raise

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncAnthropic]:
        with self._wire.told(CALL_SECONDS), self._spreading.client() as client:
            async with asyncio.timeout(CALL_SECONDS):
                yield client

    @contextmanager
    def _advising(self) -> Iterator[None]:
        try:
            yield
        except APIStatusError as error:
            if error.status_code in NO_INTERFACE:
                raise self._wire.failures.refused(ADVICE) from error
            raise

    def _params(self, request: CompletionRequest) -> Any:
        body = self._wire.body(request)
        return {**body, **body.pop("extra_body", {})}

    def _checked(self, batch: MessageBatch) -> MessageBatch:
        """The SDK builds what it gets without looking."""
        if not (
            isinstance(batch, MessageBatch) and isinstance(batch.id, str) and batch.id and isinstance(batch.created_at, datetime)
        ):
            raise self._wire.failures.invalid_answer("it is no batch")
        return batch

    async def _first_id(self, client: AsyncAnthropic, batch_id: str) -> str | None:
        lines = await client.messages.batches.results(batch_id)
        try:
            async for line in lines:
                return str(line.custom_id)
        finally:
            await lines.close()
        return None

    def _answered(self, line: MessageBatchIndividualResponse, headers: Mapping[str, str]) -> Answered:
        result, failures = line.result, self._wire.failures
        if result.type == "succeeded":
            try:
                return self._wire.completion(result.message, headers, 0.0, in_batch=True)
            except (ProviderError, ProviderRefusedError) as error:
                return error
        if result.type == "errored":
            return failures.of_type(result.error.error.type, result.error.error.message)
        reasons: dict[str, EvolineError] = {
            "canceled": failures.refused("the batch was cancelled before this request was answered"),
            "expired": ProviderError("timeout", "anthropic: the batch expired before this request was answered"),
        }
        return reasons.get(str(result.type), failures.invalid_answer(f"a result of the unknown type {result.type}"))


def _size(batch: MessageBatch) -> int:
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
