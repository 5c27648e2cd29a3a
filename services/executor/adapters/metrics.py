"""Language models that tell how each call went."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import datetime

from shared.clock import Clock
from shared.errors import ProviderError, ProviderRefusedError
from shared.pipeline.batches import Answered, MessageBatches, batches_of
from shared.pipeline.completion import Completion, CompletionRequest, Family, LanguageModel, StreamPart
from shared.telemetry.metrics import ProviderMetrics, Tokens

ASKED = "configured"
"""Model label of a failed call that asked for no model by name."""


class MeteredModel:
    def __init__(self, family: Family, model: LanguageModel, metrics: ProviderMetrics, clock: Clock) -> None:
        self._family = family
        self._model = model
        self._metrics = metrics
        self._clock = clock

    async def complete(self, request: CompletionRequest) -> Completion:
        started = self._clock.monotonic()
        with self._failures(request, started):
            completion = await self._model.complete(request)
        self._succeeded(completion, started)
        return completion

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        started = self._clock.monotonic()
        with self._failures(request, started):
            async with aclosing(self._model.stream(request)) as parts:
                async for part in parts:
                    if isinstance(part, Completion):
                        self._succeeded(part, started)
                    yield part

    async def count_tokens(self, request: CompletionRequest) -> int:
        return await self._model.count_tokens(request)

    async def batches(self) -> MessageBatches | None:
        batches = await batches_of(self._model)
        return MeteredBatches(batches, self._metrics) if batches else None

    @contextmanager
    def _failures(self, request: CompletionRequest, started: float) -> Iterator[None]:
        try:
            yield
        except (ProviderError, ProviderRefusedError) as error:
            outcome = error.kind if isinstance(error, ProviderError) else "refused"
            if not error.replayed:
                self._metrics.called(self._family, request.model or ASKED, outcome, self._clock.monotonic() - started)
            raise

    def _succeeded(self, completion: Completion, started: float) -> None:
        if completion.replayed:
            return
        self._metrics.called(completion.provider, completion.model, "ok", self._clock.monotonic() - started)
        _count(completion, self._metrics)


class MeteredBatches:
    """Counts what batches used. How long they take is no latency of a call."""

    def __init__(self, batches: MessageBatches, metrics: ProviderMetrics) -> None:
        self._batches = batches
        self._metrics = metrics

    async def submit(self, requests: Mapping[str, CompletionRequest]) -> str:
        return await self._batches.submit(requests)

    async def find(self, prefix: str, size: int, since: datetime) -> str | None:
        return await self._batches.find(prefix, size, since)

    async def has_ended(self, batch_id: str) -> bool:
        return await self._batches.has_ended(batch_id)

    async def results(self, batch_id: str) -> Mapping[str, Answered]:
        results = await self._batches.results(batch_id)
        for answer in results.values():
            if isinstance(answer, Completion) and not answer.replayed:
                _count(answer, self._metrics)
        return results

    async def cancel(self, batch_id: str) -> None:
        await self._batches.cancel(batch_id)


def _count(completion: Completion, metrics: ProviderMetrics) -> None:
    usage = completion.usage
    tokens = Tokens(input=usage.input_tokens, cached_input=usage.cached_input_tokens, output=usage.output_tokens)
    metrics.used(completion.provider, completion.model, tokens, usage.cost_usd)
