"""The broker in memory, with JetStream's rules as the real one was seen to keep them: duplicates are dropped by message id,
commands come again until they are acknowledged, and an ack, nak or termination counts whichever delivery it comes from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import nats.errors
from opentelemetry.trace import get_tracer

from shared.clock import Clock
from shared.events import Fact, Query
from shared.messaging import codec, headers
from shared.messaging.bus import Bus, BusParts, Received
from shared.messaging.observer import SilentObserver
from tests.fakes.durable_boundaries import Boundaries

Ask = Callable[[Query], Awaitable[dict[str, Any]]]


@dataclass
class Stored:
    sequence: int
    subject: str
    body: bytes
    headers: Mapping[str, str]
    deliveries: int = 0
    held: set[object] = field(default_factory=set)
    """Deliveries that the broker still hears of."""


@dataclass
class InMemoryBroker:
    commands: dict[int, Stored] = field(default_factory=dict)
    ready: list[int] = field(default_factory=list)
    facts: list[Stored] = field(default_factory=list)
    dead: list[Stored] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    """Set ones, by subject: a later one of the same subject replaces it."""
    _seen: set[str] = field(default_factory=set)
    _sequence: int = 0

    async def publish(self, subject: str, body: bytes, fields: Mapping[str, str]) -> None:
        if fields[headers.MESSAGE_ID] in self._seen:
            return
        self._seen.add(fields[headers.MESSAGE_ID])
        if headers.SCHEDULE in fields:
            self._set_timer(subject, body, fields)
        else:
            self._store(subject, body, fields)

    def _set_timer(self, subject: str, body: bytes, fields: Mapping[str, str]) -> None:
        if subject in self.timers:
            self.timers.pop(subject).cancel()
        moment = datetime.fromisoformat(fields[headers.SCHEDULE].removeprefix("@at "))
        seconds = (moment - datetime.now(UTC)).total_seconds()
        self.timers[subject] = asyncio.get_running_loop().call_later(seconds, self._fire, subject, body, dict(fields))

    def _fire(self, subject: str, body: bytes, fields: Mapping[str, str]) -> None:
        """What fires has no message id."""
        del self.timers[subject]
        own = (headers.MESSAGE_ID, headers.SCHEDULE, headers.SCHEDULE_TARGET)
        kept = {name: value for name, value in fields.items() if name not in own}
        self._store(fields[headers.SCHEDULE_TARGET], body, kept)

    def _store(self, subject: str, body: bytes, fields: Mapping[str, str]) -> None:
        self._sequence += 1
        stored = Stored(self._sequence, subject, body, dict(fields))
        if subject.startswith("cmd."):
            self.commands[stored.sequence] = stored
            self.ready.append(stored.sequence)
        else:
            (self.dead if subject.startswith("dlq.") else self.facts).append(stored)
        self.changed.set()

    def remove(self, sequence: int) -> None:
        self.commands.pop(sequence, None)
        self.changed.set()

    def offer(self, sequence: int) -> None:
        """To be delivered again, behind everything else."""
        if sequence in self.commands and sequence not in self.ready:
            self.ready.append(sequence)
        self.changed.set()

    def heard(self, kind: type[Fact]) -> list[tuple[str, Any]]:
        """(message id, fact) of every stored fact of this kind."""
        found = [stored for stored in self.facts if stored.subject == kind.subject]
        return [(stored.headers[headers.MESSAGE_ID], codec.decode(kind, stored.body)) for stored in found]


class DeliveredMessage:
    """One delivery, as `nats.aio.msg.Msg` shows it to a handler."""

    def __init__(self, stored: Stored, broker: InMemoryBroker, boundaries: Boundaries) -> None:
        self.stored = stored
        self.subject, self.data, self.headers = stored.subject, stored.body, dict(stored.headers)
        self.settled = False
        self.is_acked = False
        self._broker = broker
        self._boundaries = boundaries
        place = SimpleNamespace(stream=stored.sequence, consumer=stored.sequence)
        self.metadata = SimpleNamespace(stream="CMD", sequence=place, num_delivered=stored.deliveries)

    async def ack(self) -> None:
        await self._tell("ack", self._broker.remove)

    async def term(self) -> None:
        await self._tell("term", self._broker.remove)

    async def nak(self, delay: float | None = None) -> None:
        await self._tell("nak", self._broker.offer)

    async def in_progress(self) -> None:
        await self._boundaries.alive()

    async def _tell(self, word: str, effect: Callable[[int], None]) -> None:
        async def act() -> None:
            self.settled = True
            effect(self.metadata.sequence.stream)

        await self._boundaries.cross(f"message.{word}", act, nats.errors.ConnectionClosedError())
        self.is_acked = True


class _Stream:
    """What a bus publishes into."""

    def __init__(self, broker: InMemoryBroker, boundaries: Boundaries) -> None:
        self._broker = broker
        self._boundaries = boundaries

    async def publish(self, subject: str, body: bytes, *, headers: Mapping[str, str], **_: Any) -> None:
        name = f"publish {subject}"
        await self._boundaries.cross(name, lambda: self._broker.publish(subject, body, headers), nats.errors.TimeoutError())


class InMemoryBus(Bus):
    """The real bus on the broker in memory: only what follows and asks is its own."""

    def __init__(self, broker: InMemoryBroker, boundaries: Boundaries, clock: Clock, ask: Ask) -> None:
        client = SimpleNamespace(jetstream=lambda timeout: _Stream(broker, boundaries), is_closed=False)
        parts = BusParts(clock=clock, tracer=get_tracer("tests"), observer=SilentObserver())
        super().__init__(cast("Any", client), service="executor", parts=parts)
        self._broker = broker
        self._boundaries = boundaries
        self._ask = ask

    async def ask(self, query: Query, timeout_seconds: float = 5.0) -> dict[str, Any]:
        return await self._ask(query)

    @asynccontextmanager
    async def follow(
        self, *facts: type[Fact], since: datetime | int | None = None
    ) -> AsyncIterator[AsyncIterator[tuple[Fact, Received]]]:
        yield self._followed({fact.subject: fact for fact in facts}, len(self._broker.facts))

    async def _followed(self, kinds: Mapping[str, type[Fact]], start: int) -> AsyncIterator[tuple[Fact, Received]]:
        at = start
        while True:
            await self._boundaries.alive()
            for stored in self._new(at, kinds):
                yield codec.decode(kinds[stored.subject], stored.body), _received(stored)
            at = len(self._broker.facts)
            await asyncio.sleep(0.001)

    def _new(self, at: int, kinds: Mapping[str, type[Fact]]) -> Sequence[Stored]:
        return [stored for stored in self._broker.facts[at:] if stored.subject in kinds]


def _received(stored: Stored) -> Received:
    return Received(stored.sequence, stored.headers[headers.MESSAGE_ID], stored.subject, datetime.now(UTC), stored.headers)
