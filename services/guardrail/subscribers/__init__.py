"""Subject -> use case -> effects."""

from __future__ import annotations

from services.guardrail.ports import Guardrail
from services.guardrail.subscribers import commands, queries, rollouts
from services.guardrail.subscribers.edge import Edge
from shared.messaging.consumer import Consumer

__all__ = ["Edge", "register"]


def register(consumer: Consumer, at: Guardrail, *, concurrency: int) -> None:
    edge = Edge(consumer, at)
    commands.register(edge, at, concurrency)
    rollouts.register(edge, consumer, at, concurrency)
    queries.register(edge, consumer, at)
