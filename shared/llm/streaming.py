"""What both adapters need to tell an answer while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TypeVar

from shared.pipeline.completion import Completion, StreamPart, TextChunk, ToolChunk

T = TypeVar("T")


async def until(events: AsyncIterator[T], ends_at: float) -> AsyncGenerator[T]:
    """Raises `TimeoutError` where the next event is not there by `ends_at`, on the loop's clock.

    Each wait has a timer of its own: one around the whole would go off inside whoever reads the events."""
    while True:
        try:
            async with asyncio.timeout_at(ends_at):
                event = await anext(events)
        except StopAsyncIteration:
            return
        yield event


async def abandon(events: AsyncIterator[T]) -> None:
    """Ends a stream whose connection is closed only where a wait for its next event is cut off (google-genai's: closing its
    generator leaves those inside it, and so the connection, as they are). Events that are here already are dropped."""
    while True:
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()
        (dropped,) = await asyncio.gather(waiting, return_exceptions=True)
        if isinstance(dropped, BaseException):
            return


def parts_of(completion: Completion) -> Iterator[StreamPart]:
    """A completion that is whole already, told as a stream."""
    if completion.text:
        yield TextChunk(text=completion.text)
    for call in completion.tool_calls:
        yield ToolChunk(call=call)
    yield completion
