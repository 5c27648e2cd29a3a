"""Models that record what they are asked and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime

from shared.errors import ProviderError, ProviderRefusedError
from shared.llm.cassette.tape import CompleteLine, CountLine, Line, Outcome, ResultsLine, SubmitLine, TapeWriter
from shared.llm.closing import close_model
from shared.pipeline.batches import Answered, MessageBatches, batches_of
from shared.pipeline.completion import Completion, CompletionRequest, LanguageModel, StreamPart

Failure = ProviderError | ProviderRefusedError


class RecordingModel:
    """Failures are recorded too: a run that met them meets them again. Calls that are cut off have no outcome.

    An answer that cannot be recorded is given to nobody: a recording with a gap would not replay."""

    def __init__(self, model: LanguageModel, tape: TapeWriter) -> None:
        self._model = model
        self._tape = tape

    async def close(self) -> None:
        await close_model(self._model)

    async def complete(self, request: CompletionRequest) -> Completion:
        try:
            completion = await self._model.complete(request)
        except (ProviderError, ProviderRefusedError) as error:
            await self._record(request, error)
            raise
        await self._record(request, completion)
        return completion

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        try:
            async with aclosing(self._model.stream(request)) as parts:
                async for part in parts:
                    if isinstance(part, Completion):
                        await self._record(request, part)
                    yield part
        except (ProviderError, ProviderRefusedError) as error:
            await self._record(request, error)
            raise

    async def count_tokens(self, request: CompletionRequest) -> int:
        tokens = await self._model.count_tokens(request)
        await _added(self._tape, CountLine(request=request, tokens=tokens))
        return tokens

    async def batches(self) -> MessageBatches | None:
        batches = await batches_of(self._model)
        return RecordingBatches(batches, self._tape) if batches else None

    async def _record(self, request: CompletionRequest, answered: Completion | Failure) -> None:
        await _added(self._tape, CompleteLine(request=request, outcome=Outcome.of(answered)))


class RecordingBatches:
    """Requests are recorded as they are handed over, outcomes as they are read; whoever reads them may be another process."""

    def __init__(self, batches: MessageBatches, tape: TapeWriter) -> None:
        self._batches = batches
        self._tape = tape

    async def submit(self, requests: Mapping[str, CompletionRequest]) -> str:
        batch_id = await self._batches.submit(requests)
        await _added(self._tape, SubmitLine(batch_id=batch_id, requests=dict(requests)))
        return batch_id

    async def find(self, prefix: str, size: int, since: datetime) -> str | None:
        return await self._batches.find(prefix, size, since)

    async def has_ended(self, batch_id: str) -> bool:
        return await self._batches.has_ended(batch_id)

    async def results(self, batch_id: str) -> Mapping[str, Answered]:
        results = await self._batches.results(batch_id)
        outcomes = {name: Outcome.of(answered) for name, answered in results.items()}
        await _added(self._tape, ResultsLine(batch_id=batch_id, outcomes=outcomes))
        return results

    async def cancel(self, batch_id: str) -> None:
        await self._batches.cancel(batch_id)


async def _added(tape: TapeWriter, line: Line) -> None:
    await asyncio.to_thread(tape.add, line)
