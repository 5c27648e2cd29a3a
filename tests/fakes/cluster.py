"""Executors over one broker and one store in memory: the real subscribers, delivery desk, bus, adapters and engine, in processes
that can stop, wake and be replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from nats.aio.msg import Msg

from services.executor.adapters.nats import BusAnnouncer, BusShadows, BusTimers, FleetChildren
from services.executor.engine.batches import BatchStep, ProviderBatches
from services.executor.subscribers import Subscribers
from shared.errors import UnavailableError
from shared.events import Query
from shared.events.changes import ProposeChange
from shared.events.message import Fact
from shared.events.runs import ExecuteRun
from shared.messaging.handling import DeliveryDesk, Subscription
from shared.messaging.retry import RetryPolicy
from shared.messaging.topology import durables
from shared.pipeline.batches import Answered
from shared.pipeline.completion import Completion
from tests.fakes.broker import DeliveredMessage, InMemoryBus, Stored
from tests.fakes.durable_boundaries import Boundaries, WatchedBlobs, WatchedDatabase, WatchedStates
from tests.fakes.executor import (
    ExecutorKit,
    RecordingAnnouncer,
    RecordingShadows,
    RecordingTimers,
    ScriptedBusChildren,
    ScriptedProposals,
)
from tests.fakes.world import PLACE, WatchedModel, World

STALL_SECONDS = 60.0
"""How far a stalled process's clock jumps when it wakes: far beyond `ack_wait`."""


class ProcessClock:
    """Short waits pass at once; a stalled process finds that time has gone by."""

    def __init__(self) -> None:
        self._offset = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() + self._offset

    def jump(self, seconds: float) -> None:
        self._offset += seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds if seconds >= 1.0 else 0.001)


class PlacedBatches:
    """Notes which step hands requests over."""

    def __init__(self, inner: ProviderBatches) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def complete(self, step: BatchStep) -> list[Answered]:
        PLACE.set((step.state.record.run_id, step.path))
        return await self._inner.complete(step)


class PlacedCompletions:
    """Notes which step makes a call."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def complete(self, state: Any, request: Any, charge: Any, **options: Any) -> Completion:
        PLACE.set((state.record.run_id, charge.__self__.context.run.position))
        return cast("Completion", await self._inner.complete(state, request, charge, **options))


@dataclass
class BusBound(RecordingAnnouncer):
    bus: InMemoryBus | None = None

    async def announce(self, fact: Fact, *, cause: str, effect: str) -> None:
        assert self.bus is not None
        await BusAnnouncer(self.bus).announce(fact, cause=cause, effect=effect)


@dataclass
class BusNested(ScriptedBusChildren):
    bus: InMemoryBus | None = None

    async def run_all(self, commands: Any, *, max_in_flight: int, deadline_seconds: float) -> dict[str, Any]:
        assert self.bus is not None
        return await FleetChildren(self.bus).run_all(commands, max_in_flight=max_in_flight, deadline_seconds=deadline_seconds)

    async def cancel(self, runs: Any, reason: str) -> None:
        assert self.bus is not None
        await FleetChildren(self.bus).cancel(runs, reason)


@dataclass
class BusBoundShadows(RecordingShadows):
    bus: InMemoryBus | None = None

    async def start(self, command: ExecuteRun) -> None:
        assert self.bus is not None
        await BusShadows(self.bus).start(command)


@dataclass
class BusBoundTimers(RecordingTimers):
    bus: InMemoryBus | None = None

    async def publish_at(self, command: ExecuteRun, moment: datetime, *, key: str) -> None:
        assert self.bus is not None
        await BusTimers(self.bus).publish_at(command, moment, key=key)


@dataclass
class WorldsProposals(ScriptedProposals):
    world: World | None = None
    boundaries: Boundaries | None = None

    async def propose(self, change: ProposeChange, wait_seconds: float) -> dict[str, Any]:
        world, boundaries = self.world, self.boundaries
        assert world is not None
        assert boundaries is not None

        async def act() -> None:
            assert world.proposed.setdefault(change.change_id, change) == change, "one change, two contents"

        await boundaries.cross("proposals.propose", act)
        return {"change_id": change.change_id, "decision": "approved", "rollout_id": None, "reasons": []}


class Subscriptions:
    """Stands where `Consumer` does, and takes everything that a service subscribes."""

    def __init__(self, bus: InMemoryBus) -> None:
        self._bus = bus
        self._table = {durable.name: durable for durable in durables()}
        self.desks: dict[str, tuple[DeliveryDesk, int]] = {}
        self.answered: dict[type[Query], Any] = {}

    def on(self, message_class: Any, handler: Any, *, durable: str, **options: Any) -> None:
        row, retry = self._table[durable], options.get("retry") or RetryPolicy()
        deadline = options.get("deadline_seconds", 60.0)
        subscription = Subscription(message_class, handler, durable, row.stream, deadline, 2.0, retry, row.ack_wait_seconds)
        self.desks[row.filter_subject] = (DeliveryDesk(self._bus, subscription), options.get("concurrency", 1))

    def answers(self, query_class: type[Query], handler: Any) -> None:
        self.answered[query_class] = handler

    async def answer(self, query: Query) -> dict[str, Any]:
        if type(query) not in self.answered:
            raise UnavailableError("nobody answers")
        return cast("dict[str, Any]", await self.answered[type(query)](query))


class Process:
    """One executor with everything that `create_app` gives it, over a world's broker and store."""

    def __init__(self, world: World, name: str, boundaries: Boundaries, *, slots: int = 4) -> None:
        self.name, self.boundaries, self.clock = name, boundaries, ProcessClock()
        self.world = world
        self.model = WatchedModel(world, boundaries)
        self.working: dict[asyncio.Task[None], DeliveredMessage] = {}
        bus = InMemoryBus(world.broker, boundaries, self.clock, self._ask)
        self.kit = ExecutorKit(
            database=WatchedDatabase(world.database, boundaries),
            guardrail=world.guardrail,
            notary=world.notary,
            model=self.model,
            announcer=BusBound(bus=bus),
            bus=BusNested(bus=bus),
            proposals=WorldsProposals(world=world, boundaries=boundaries),
            timers=BusBoundTimers(bus=bus),
            shadows=BusBoundShadows(bus=bus),
            pause_grace_seconds=0.01,
            park_after_seconds=0.02,
            blobs=WatchedBlobs(world.blobs, boundaries),
            limits=world.limits,
            states=WatchedStates(world.states, boundaries),
            name=name,
            slots=slots,
            clock=self.clock,
        )
        services = self.kit.executor.services
        object.__setattr__(services, "completions", PlacedCompletions(services.completions))
        object.__setattr__(services, "batches", PlacedBatches(services.batches))
        self.subscriptions = Subscriptions(bus)
        self.subscribers = Subscribers(self.kit.executor, slots, 6.0)
        self.subscribers.register(cast("Any", self.subscriptions))

    async def _ask(self, query: Query) -> dict[str, Any]:
        await self.boundaries.alive()
        return await self.subscriptions.answer(query)

    def has_place(self, subject: str) -> bool:
        _, concurrency = self.subscriptions.desks[subject]
        return sum(message.subject == subject for message in self.working.values()) < concurrency

    def take(self, stored: Stored) -> None:
        stored.deliveries += 1
        message = DeliveredMessage(stored, self.world.broker, self.boundaries)
        stored.held.add(message)
        task = asyncio.create_task(self._deliver(message))
        self.working[task] = message
        task.add_done_callback(lambda done: self._done(done, message))

    async def _deliver(self, message: DeliveredMessage) -> None:
        desk, _ = self.subscriptions.desks[message.subject]
        await desk.receive(cast("Msg", message))

    def _done(self, task: asyncio.Task[None], message: DeliveredMessage) -> None:
        """What nobody settled is delivered again once nobody gives signs of life."""
        self.working.pop(task, None)
        if not task.cancelled():
            task.exception()
        if self.boundaries.gone:
            return
        message.stored.held.discard(message)
        if not message.settled and not message.stored.held:
            self.world.broker.offer(message.stored.sequence)
        self.world.broker.changed.set()

    def lose(self) -> None:
        """Its `ack_wait` has passed: what it held is delivered to others."""
        for message in self.working.values():
            message.stored.held.discard(message)
            self.world.broker.offer(message.stored.sequence)

    def wake(self) -> None:
        self.clock.jump(STALL_SECONDS)
        for message in self.working.values():
            message.stored.held.add(message)
        self.boundaries.wake()

    async def dispose(self) -> None:
        self.boundaries.dispose()
        while self.working:
            tasks = list(self.working)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.05)

    def leaks(self) -> list[str]:
        """What a process at rest still holds."""
        services, watch = self.kit.executor.services, self.kit.executor.watch
        children, completions = services.children, services.completions
        free = [slot._value for slot in completions._slots.values()] if hasattr(completions, "_slots") else []
        found = {
            "deliveries": len(self.working),
            "places of waiting parents": self.kit.slots - 1 - children._waiting_places,
            "provider slots": sum(4 - value for value in free),
            "watched runs": len(getattr(watch, "_scopes", ())),
        }
        return [f"{self.name}: {count} {what}" for what, count in found.items() if count]


class Cluster:
    """Delivers what is ready to whichever live process has a place."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.live: list[Process] = []
        self.all: list[Process] = []
        self._pump: asyncio.Task[None] | None = None

    def start(self, name: str, boundaries: Boundaries, *, slots: int = 4) -> Process:
        process = Process(self.world, name, boundaries, slots=slots)
        self.live.append(process)
        self.all.append(process)
        self.world.broker.changed.set()
        return process

    def drop(self, process: Process) -> None:
        self.live.remove(process)
        process.lose()
        self.world.broker.changed.set()

    async def __aenter__(self) -> Cluster:
        self._pump = asyncio.create_task(self._deliver())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._pump is not None
        self._pump.cancel()
        for process in self.all:
            await process.dispose()

    async def _deliver(self) -> None:
        broker = self.world.broker
        while True:
            broker.changed.clear()
            for sequence in list(broker.ready):
                self._assign(sequence)
            await broker.changed.wait()

    def _assign(self, sequence: int) -> None:
        broker = self.world.broker
        stored = broker.commands.get(sequence)
        if stored is None:
            broker.ready.remove(sequence)
            return
        free = [process for process in self.live if process.has_place(stored.subject)]
        if free:
            broker.ready.remove(sequence)
            min(free, key=lambda process: len(process.working)).take(stored)

    def at_rest(self) -> bool:
        broker = self.world.broker
        return not broker.commands and not broker.timers and not any(process.working for process in self.live)


def trial_of(world: World, document: Mapping[str, Any], run_id: str = "run-1", **fields: Any) -> ExecuteRun:
    return ExecuteRun(run_id=run_id, document=dict(document), scope=world.notary.grant(), purpose="trial", **fields)
