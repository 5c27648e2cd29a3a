"""Language models that tell how each call went."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from shared.clock import Clock
from shared.errors import ProviderError, ProviderRefusedError
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

    @contextmanager
    def _failures(self, request: CompletionRequest, started: float) -> Iterator[None]:
        try:
            yield
        except (ProviderError, ProviderRefusedError) as error:
            outcome = error.kind if isinstance(error, ProviderError) else "refused"
            self._metrics.called(self._family, request.model or ASKED, outcome, self._clock.monotonic() - started)
            raise

    def _succeeded(self, completion: Completion, started: float) -> None:
        usage = completion.usage
        tokens = Tokens(input=usage.input_tokens, cached_input=usage.cached_input_tokens, output=usage.output_tokens)
        self._metrics.called(completion.provider, completion.model, "ok", self._clock.monotonic() - started)
        self._metrics.used(completion.provider, completion.model, tokens, usage.cost_usd)
