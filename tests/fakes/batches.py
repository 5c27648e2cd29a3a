"""A provider's batch interface in memory; its batches outlive the processes that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.errors import ProviderError, ProviderRefusedError
from shared.pipeline.batches import Answered, MessageBatches
from shared.pipeline.completion import Completion, CompletionRequest
from tests.fakes.language_model import Reply, ScriptedModel, completion_of


@dataclass
class StoredBatch:
    requests: dict[str, CompletionRequest]
    polls_left: int
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    cancelled: bool = False


@dataclass
class InMemoryBatches:
    """`polls`: how often a new batch is said to be in progress."""

    answer: Callable[[CompletionRequest], Reply] = lambda request: f"answer to {request.messages[-1].text}"
    polls: int = 0
    answered_early: int = 0
    """Of a batch that is cancelled: requests that were answered before."""
    made: dict[str, StoredBatch] = field(default_factory=dict)

    async def submit(self, requests: Mapping[str, CompletionRequest]) -> str:
        batch_id = f"batch-{len(self.made)}"
        self.made[batch_id] = StoredBatch(dict(requests), self.polls)
        return batch_id

    async def find(self, prefix: str, size: int, since: datetime) -> str | None:
        for batch_id, batch in reversed(self.made.items()):
            same = len(batch.requests) == size and next(iter(batch.requests)).startswith(prefix)
            if same and batch.polls_left <= 0 and batch.created_at >= since:
                return batch_id
        return None

    async def has_ended(self, batch_id: str) -> bool:
        batch = self._batch(batch_id)
        batch.polls_left -= 1
        return batch.polls_left < 0

    async def results(self, batch_id: str) -> Mapping[str, Answered]:
        batch = self._batch(batch_id)
        answered = {name: self._answered(request) for name, request in batch.requests.items()}
        if not batch.cancelled:
            return answered
        late = list(batch.requests)[self.answered_early :]
        return answered | dict.fromkeys(late, ProviderRefusedError("cancelled"))

    async def cancel(self, batch_id: str) -> None:
        batch = self.made.get(batch_id)
        if batch is not None and batch.polls_left > 0:
            batch.cancelled, batch.polls_left = True, 1

    def is_running(self, batch_id: str) -> bool:
        batch = self.made[batch_id]
        return batch.polls_left >= 0 and not batch.cancelled

    def _batch(self, batch_id: str) -> StoredBatch:
        if batch_id not in self.made:
            raise ProviderRefusedError(f"404 no batch {batch_id}")
        return self.made[batch_id]

    def _answered(self, request: CompletionRequest) -> Answered:
        reply = self.answer(request)
        if isinstance(reply, ProviderError | ProviderRefusedError):
            return reply
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Completion) else completion_of(reply, request)


@dataclass
class BatchingModel(ScriptedModel):
    """A scripted model whose provider takes batches, and fails at them as `faults` say, one a call."""

    offered: InMemoryBatches = field(default_factory=InMemoryBatches)
    faults: list[Exception] = field(default_factory=list)

    async def batches(self) -> MessageBatches:
        return FaultyBatches(self.offered, self.faults)


@dataclass
class FaultyBatches:
    inner: InMemoryBatches
    faults: list[Exception]

    async def submit(self, requests: Mapping[str, CompletionRequest]) -> str:
        """A submission that times out was made all the same."""
        fault = self.faults.pop(0) if self.faults else None
        batch_id = await self.inner.submit(requests) if fault is None or "timeout" in str(fault) else ""
        if fault is not None:
            raise fault
        return batch_id

    async def find(self, prefix: str, size: int, since: datetime) -> str | None:
        return await self.inner.find(prefix, size, since)

    async def has_ended(self, batch_id: str) -> bool:
        if self.faults:
            raise self.faults.pop(0)
        return await self.inner.has_ended(batch_id)

    async def results(self, batch_id: str) -> Mapping[str, Answered]:
        return await self.inner.results(batch_id)

    async def cancel(self, batch_id: str) -> None:
        await self.inner.cancel(batch_id)
