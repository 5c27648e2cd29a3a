"""Models whose SDK is loaded when it is needed: importing both takes seconds of CPU, and they serve nobody until the first call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from shared.llm.closing import close_model
from shared.pipeline.batches import MessageBatches, batches_of
from shared.pipeline.completion import Completion, CompletionRequest, LanguageModel, StreamPart

Build = Callable[[], LanguageModel]


class ModelOnDemand:
    """The model that `build` makes, made once, in a thread: the event loop and its heartbeats go on meanwhile."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._model: LanguageModel | None = None
        self._building = asyncio.Lock()

    async def complete(self, request: CompletionRequest) -> Completion:
        return await (await self.model()).complete(request)

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        async with aclosing((await self.model()).stream(request)) as parts:
            async for part in parts:
                yield part

    async def count_tokens(self, request: CompletionRequest) -> int:
        return await (await self.model()).count_tokens(request)

    async def batches(self) -> MessageBatches | None:
        return await batches_of(await self.model())

    async def model(self) -> LanguageModel:
        """Raises what `build` raises; the next call tries again."""
        async with self._building:
            if self._model is None:
                self._model = await asyncio.to_thread(self._build)
            return self._model

    async def close(self) -> None:
        """Lets the connections go, if there are any; a later call makes new ones."""
        async with self._building:
            model, self._model = self._model, None
        await close_model(model)
