"""What outlives every executor of a cluster, and the models through which its executors reach their provider."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.executor.adapters.mongo_runs import MongoJournal
from services.executor.domain.control import live_entries
from services.executor.domain.limits.listed import LimitList
from services.executor.domain.records import JournalEntry
from shared.clock import SystemClock
from shared.errors import ProviderError
from shared.events import Command, derive_id
from shared.events.changes import ProposeChange
from shared.llm.streaming import parts_of
from shared.messaging import headers
from shared.messaging.codec import encode
from shared.pipeline.batches import Answered, MessageBatches
from shared.pipeline.completion import Completion, CompletionRequest, StreamPart
from tests.fakes.batches import InMemoryBatches
from tests.fakes.blobs import InMemoryBlobs
from tests.fakes.broker import InMemoryBroker
from tests.fakes.durable_boundaries import Boundaries
from tests.fakes.executor import Notary
from tests.fakes.language_model import Reply, completion_of
from tests.fakes.states import InMemoryStates
from tests.fakes.storage import InMemoryDatabase

PLACE: ContextVar[tuple[str, str]] = ContextVar("place", default=("", ""))
"""(run id, step path) of the step that makes the present call."""
Script = Callable[[CompletionRequest, int], Reply]
"""(request, how often it was asked before) -> reply."""
Call = tuple[str, str, str]
"""(run id, step path, prompt)."""


@dataclass
class World:
    """What outlives every process."""

    script: Script = lambda request, asked: f"answer to {request.messages[-1].text}"
    broker: InMemoryBroker = field(default_factory=InMemoryBroker)
    database: InMemoryDatabase = field(default_factory=InMemoryDatabase)
    blobs: InMemoryBlobs = field(default_factory=InMemoryBlobs)
    guardrail: InMemoryDatabase = field(default_factory=InMemoryDatabase)
    notary: Notary = field(default_factory=Notary)
    calls: Counter[Call] = field(default_factory=Counter)
    told: int = 0
    """Further commands that were sent."""
    repeated: list[Call] = field(default_factory=list)
    """Calls of steps that had been finished before."""
    proposed: dict[str, ProposeChange] = field(default_factory=dict)
    batches: InMemoryBatches = field(default_factory=InMemoryBatches)
    limits: LimitList = field(default_factory=LimitList)
    """What the provider allows all executors together."""
    states: InMemoryStates = field(default_factory=InMemoryStates)
    hangs: Callable[[CompletionRequest, int], bool] = lambda request, asked: False
    """Calls that are never answered; `hanging` is set by the first one."""
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    async def journal(self, run_id: str) -> list[JournalEntry]:
        return await MongoJournal(self.database, SystemClock(), self.blobs).entries(run_id)

    async def send(self, command: Command, copy: str = "") -> int:
        """As a client would; `copy` makes another message of the same command. Returns its sequence."""
        message_id = derive_id(getattr(command, "run_id", command.subject), command.subject + copy)
        fields = {headers.MESSAGE_ID: message_id, "ce-time": datetime.now(UTC).isoformat()}
        return await self.send_raw(command.subject, encode(command), fields)

    async def send_raw(self, subject: str, body: bytes, fields: Mapping[str, str]) -> int:
        await self.broker.publish(subject, body, fields)
        return max(self.broker.commands, default=0)


@dataclass
class WatchedModel:
    """Counts calls by the step that makes them; an answer is lost with the process that asked for it."""

    world: World
    boundaries: Boundaries
    hung: int = 0
    """Calls that wait for an answer that does not come."""

    def __post_init__(self) -> None:
        self.offered = WatchedBatches(self)

    async def complete(self, request: CompletionRequest) -> Completion:
        asked = await self.noted(request)
        reply = self.world.script(request, asked)
        reply = await self.boundaries.cross("provider.call", lambda: _given(reply))
        await self.boundaries.alive()
        if self.world.hangs(request, asked):
            await self._hang()
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Completion) else completion_of(reply, request)

    async def batches(self) -> MessageBatches:
        return self.offered

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        for part in parts_of(await self.complete(request)):
            yield part

    async def count_tokens(self, request: CompletionRequest) -> int:
        return 1

    async def _hang(self) -> None:
        """Nobody who looks at the run sees what a late process waits for."""
        if not self.boundaries.late:
            self.world.hanging.set()
        self.hung += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.hung -= 1

    async def noted(self, request: CompletionRequest) -> int:
        """How often it was asked before. A call is under way from here on, also if its process stops in the same moment."""
        run_id, path = PLACE.get()
        call = (run_id, path, request.messages[-1].text)
        if path in live_entries(await self.world.journal(run_id)):
            self.world.repeated.append(call)
        self.world.calls[call] += 1
        return self.world.calls[call] - 1


async def _given(reply: Reply) -> Reply:
    return reply


class WatchedBatches:
    """The provider's batches, which outlive the process; requests count as calls once they are handed over."""

    def __init__(self, model: WatchedModel) -> None:
        self._model = model
        self._boundaries = model.boundaries
        self._inner = model.world.batches

    async def submit(self, requests: Mapping[str, CompletionRequest]) -> str:
        for request in requests.values():
            await self._model.noted(request)
        error = ProviderError("timeout", "no answer")
        return await self._boundaries.cross("provider.submit", lambda: self._inner.submit(requests), error)

    async def find(self, prefix: str, size: int, since: datetime) -> str | None:
        await self._boundaries.alive()
        return await self._inner.find(prefix, size, since)

    async def has_ended(self, batch_id: str) -> bool:
        await self._boundaries.alive()
        return await self._inner.has_ended(batch_id)

    async def results(self, batch_id: str) -> Mapping[str, Answered]:
        await self._boundaries.alive()
        return await self._inner.results(batch_id)

    async def cancel(self, batch_id: str) -> None:
        error = ProviderError("timeout", "no answer")
        await self._boundaries.cross("provider.cancel", lambda: self._inner.cancel(batch_id), error)
