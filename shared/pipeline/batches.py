"""A provider's batch interface: many requests handed over at once, answered within a day, at a lower price."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, runtime_checkable

from shared.errors import EvolineError
from shared.pipeline.completion import Completion, CompletionRequest

Answered = Completion | EvolineError
"""What came of one request of a batch."""


class MessageBatches(Protocol):
    """Every method is one attempt. Raises `ProviderError` (may be retried) or `ProviderRefusedError`."""

    async def submit(self, requests: Mapping[str, CompletionRequest]) -> str:
        """Hands requests over, each under an id that only it has; returns the batch's id.

        After an error of the kinds `timeout`, `connection` and `server` the batch may exist all the same."""
        ...

    async def find(self, prefix: str, size: int, since: datetime) -> str | None:
        """A batch of `size` requests whose ids begin with `prefix`, made after `since`: one whose submission was not heard of.

        Providers tell the ids of requests only with the answers, so a batch is found once it has ended."""
        ...

    async def has_ended(self, batch_id: str) -> bool: ...

    async def results(self, batch_id: str) -> Mapping[str, Answered]:
        """Of a batch that has ended, by the ids of its requests. What was answered costs the batch's price."""
        ...

    async def cancel(self, batch_id: str) -> None:
        """Asks for its end; what is answered by then stays answered. Nothing happens to a batch that has ended."""
        ...


@runtime_checkable
class OffersBatches(Protocol):
    """A model whose provider may have a batch interface."""

    async def batches(self) -> MessageBatches | None: ...


async def batches_of(model: object) -> MessageBatches | None:
    """None where the model's provider has no batch interface."""
    return await model.batches() if isinstance(model, OffersBatches) else None
