"""A provider's batch interface in memory; its batches outlive the processes that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from shared.errors import ProviderError, ProviderRefusedError
from shared.pipeline.batches import Answered
from shared.pipeline.completion import Completion, CompletionRequest
from tests.fakes.language_model import Reply, completion_of


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
        if batch.cancelled:
            return dict.fromkeys(batch.requests, ProviderRefusedError("cancelled"))
        return {name: self._answered(request) for name, request in batch.requests.items()}

    async def cancel(self, batch_id: str) -> None:
        batch = self.made.get(batch_id)
        if batch is not None and batch.polls_left > 0:
            batch.cancelled, batch.polls_left = True, 1

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
