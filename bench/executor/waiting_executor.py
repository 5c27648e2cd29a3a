"""An executor whose model only waits, without SDK and connection: `python -m bench.executor.waiting_executor`.

What it takes beyond the waiting is Evoline's own. `EVOLINE_BENCH_CALL_SECONDS` is the time of a call."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator

from services.executor.app import create_app
from shared.pipeline.completion import Completion, CompletionRequest, StreamPart
from shared.service import Application, main
from tests.fakes.language_model import completion_of


class WaitingModel:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def complete(self, request: CompletionRequest) -> Completion:
        await asyncio.sleep(self._seconds)
        return completion_of("ok", request)

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        yield await self.complete(request)

    async def count_tokens(self, request: CompletionRequest) -> int:
        return 1


def create() -> Application:
    model = WaitingModel(float(os.environ["EVOLINE_BENCH_CALL_SECONDS"]))
    return create_app(models={"claude": model, "gemini": model})


if __name__ == "__main__":
    main(create)
