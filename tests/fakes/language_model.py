"""A language model that answers from a script: deterministic, counted, and as slow or broken as a test wants."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass, field

from shared.events.values import Usage
from shared.llm.streaming import parts_of
from shared.pipeline.completion import Completion, CompletionRequest, StreamPart

Reply = str | Completion | Exception


def completion_of(text: str, request: CompletionRequest, *, model: str = "scripted-1") -> Completion:
    """One token a word, nothing for free."""
    asked = sum(len(message.text.split()) for message in request.messages)
    usage = Usage(calls=1, input_tokens=asked, output_tokens=len(text.split()))
    return Completion(text=text, stop="end", usage=usage, provider="local", model=request.model or model, latency_seconds=0.0)


@dataclass
class ScriptedModel:
    """`script`: replies in order, the last one for ever after; or a function of the request. An exception is raised.

    `delay_seconds` passes before a reply; `cancelled` counts the calls that were cut off meanwhile."""

    script: Iterable[Reply] | Callable[[CompletionRequest], Reply] = ("ok",)
    delay_seconds: float = 0.0
    requests: list[CompletionRequest] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    cancelled: int = 0
    _replies: Iterator[Reply] = field(init=False)

    def __post_init__(self) -> None:
        if not callable(self.script):
            replies = list(self.script)
            self._replies = itertools.chain(replies, itertools.repeat(replies[-1]))

    async def complete(self, request: CompletionRequest) -> Completion:
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay_seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        reply = self.script(request) if callable(self.script) else next(self._replies)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Completion) else completion_of(reply, request)

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        for part in parts_of(await self.complete(request)):
            yield part

    async def count_tokens(self, request: CompletionRequest) -> int:
        return sum(len(message.text.split()) for message in request.messages)
