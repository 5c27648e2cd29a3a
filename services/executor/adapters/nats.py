"""Facts, nested runs, questions and proposals over the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.errors import NotFoundError, UnavailableError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GetChange, ProposeChange
from shared.events.message import Fact, Query
from shared.events.runs import CancelRun, ExecuteRun, RunFinished
from shared.messaging.bus import Bus
from shared.messaging.fleet import Fleet

ANSWER_SECONDS = 10.0
DECIDED = ("approved", "vetoed", "expired")


class BusAnnouncer:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def announce(self, fact: Fact, *, cause: str, effect: str) -> None:
        await self._bus.publish(fact, cause=cause, effect=effect)


class BusShadows:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def start(self, command: ExecuteRun) -> None:
        await self._bus.publish(command, cause=command.run_id)


class BusTimers:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def publish_at(self, command: ExecuteRun, moment: datetime, *, key: str) -> None:
        # Two waits of one run may end at the same moment: paused and resumed, it waits for the rest.
        generation = command.continuation.generation if command.continuation else 0
        await self._bus.publish_at(command, moment, cause=key, effect=f"wake:{generation}:{moment.isoformat()}")


class FleetChildren:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._fleet = Fleet(bus, packs=False)

    async def run_all(
        self, commands: Sequence[ExecuteRun], *, max_in_flight: int, deadline_seconds: float
    ) -> dict[str, RunFinished]:
        return await self._fleet.run_all(commands, max_in_flight=max_in_flight, deadline_seconds=deadline_seconds)

    async def cancel(self, runs: Mapping[str, int], reason: str) -> None:
        for run_id, retries in runs.items():
            effect = f"cancel:{retries}" if retries else ""
            await self._bus.publish(CancelRun(run_id=run_id, author="executor", reason=reason), cause=run_id, effect=effect)


class BusQuestions:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ask(self, query: Query) -> dict[str, Any]:
        return await self._bus.ask(query, timeout_seconds=ANSWER_SECONDS)


class BusProposals:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def propose(self, change: ProposeChange, wait_seconds: float) -> dict[str, Any]:
        """A change that waits for people is told as `queued` at once: they may take days."""
        async with self._bus.follow(ChangeApproved, ChangeVetoed, ChangeQueued) as facts:
            decided = await self._decided_before(change.change_id)
            if decided is None:
                await self._bus.publish(change, cause=change.change_id)
                decided = await _verdict(facts, change.change_id, wait_seconds)
        return decided or _decision(change.change_id, "pending")

    async def _decided_before(self, change_id: str) -> dict[str, Any] | None:
        """The verdict on a proposal that a former attempt of the step made."""
        try:
            record = await self._bus.ask(GetChange(change_id=change_id), timeout_seconds=ANSWER_SECONDS)
        except (NotFoundError, UnavailableError):
            return None
        status = str(record.get("status", ""))
        return _decision(change_id, status) if status in DECIDED else None


async def _verdict(facts: Any, change_id: str, wait_seconds: float) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(wait_seconds) as timer:
            async for fact, _ in facts:
                if fact.change_id == change_id:
                    return _told(fact)
    except TimeoutError:
        if not timer.expired():
            raise
    return None


def _told(fact: ChangeApproved | ChangeVetoed | ChangeQueued) -> dict[str, Any]:
    words = {ChangeApproved: "approved", ChangeVetoed: "vetoed", ChangeQueued: "queued"}
    return _decision(fact.change_id, words[type(fact)], fact.reasons)


def _decision(change_id: str, decision: str, reasons: Sequence[str] = ()) -> dict[str, Any]:
    return {"change_id": change_id, "decision": decision, "rollout_id": None, "reasons": list(reasons)}
