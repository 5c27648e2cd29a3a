"""Plays a scenario of the crash matrix with one boundary broken, and says which rules that broke."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from shared.events.runs import RunFinished
from shared.events.transfer import RunImported
from shared.events.values import Usage
from tests.fakes.cluster import Cluster, Process
from tests.fakes.crash_scenarios import Scenario
from tests.fakes.durable_boundaries import Boundaries, Fault, Place
from tests.fakes.world import World

Then = Literal["goes on", "dies", "wakes late", "wakes amid", "copy comes"]
"""What happens once the fault has struck."""
PATIENCE_SECONDS = 5.0


@dataclass
class Played:
    """What came of one run of a scenario."""

    world: World
    cluster: Cluster
    first: Process
    problems: list[str]
    ends: dict[tuple[str, int], RunFinished]
    """By run and how often it had been retried."""
    end: RunFinished | None
    """The scenario's."""


async def until(check: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < give_up_at, what
        await asyncio.sleep(0.0005)


async def play(scenario: Scenario, place: Place | None = None, fault: Fault = "noted", then: Then = "goes on") -> Played:
    world = World()
    order = await scenario.order(world)
    boundaries = Boundaries(place, fault, trouble=scenario.trouble)
    async with Cluster(world) as cluster:
        first = cluster.start("first", boundaries, slots=scenario.slots)
        others = Others(world, cluster, scenario)
        sending = asyncio.create_task(others.send())
        if scenario.body:
            await world.send_raw(order.subject, scenario.body, {"Nats-Msg-Id": "unreadable"})
        else:
            for copy in range(scenario.copies):
                await world.send(order, copy="" if copy == 0 else f"again-{copy}")
        if place is not None:
            await until(lambda: boundaries.struck.is_set() or others.at_rest(), "neither struck nor at rest")
            if boundaries.struck.is_set():
                await go_on(scenario, others, first, order, then)
        await until(others.at_rest, "not at rest")
        sending.cancel()
        problems = await broken_rules(world, cluster, scenario)
        ends = {(fact.run_id, fact.retries): fact for _, fact in world.broker.heard(RunFinished)}
        last = max((place for place in ends if place[0] == scenario.run_id), default=("", 0))
        if place is not None and not boundaries.struck.is_set():
            problems.append("the boundary was not reached")
    return Played(world, cluster, first, problems, ends, ends.get(last))


class Others:
    """Whoever sends the scenario's further commands."""

    def __init__(self, world: World, cluster: Cluster, scenario: Scenario) -> None:
        self.cluster = cluster
        self._world = world
        self._left = list(scenario.then)

    async def send(self) -> None:
        while self._left:
            if self._is_due():
                _, command = self._left[0]
                self._left.pop(0)
                self._world.told += 1
                await self._world.send(command)
            await asyncio.sleep(0.0005)

    def at_rest(self) -> bool:
        """Nothing is under way, and nobody is about to send anything."""
        return self.cluster.at_rest() and not self._is_due()

    def _is_due(self) -> bool:
        return bool(self._left) and self._left[0][0](self._world)


async def go_on(scenario: Scenario, others: Others, first: Process, order: Any, then: Then) -> None:
    """What happens around the first process once its fault has struck."""
    if then == "goes on":
        return
    cluster = others.cluster
    second = cluster.start("second", Boundaries(), slots=scenario.slots)
    if then == "copy comes":
        if not scenario.body:
            await cluster.world.send(order, copy="copy")
        return
    cluster.drop(first)
    if then == "wakes late":
        await until(others.at_rest, "not at rest without the first process")
    elif then == "wakes amid":
        await until(lambda: len(second.boundaries.passed) >= 2 or others.at_rest(), "the second process does nothing")
    if then != "dies":
        first.wake()
        await until(lambda: len(first.working) <= first.model.hung, "the late process does not stop")


async def broken_rules(world: World, cluster: Cluster, scenario: Scenario) -> list[str]:
    found = [f"finished step asked again: {call}" for call in world.repeated]
    found += [leak for process in cluster.live for leak in process.leaks()]
    found += [f"left in the queue: {stored.subject}" for stored in world.broker.commands.values()]
    records = await world.database.collection("runs").find({})
    found += [f"run {each['_id']} has no end" for each in records if each.get("finished") is None]
    found += [*_ends(world, records), *await _journals(world, records)]
    if not scenario.body:
        found += [f"dead letter: {stored.headers}" for stored in world.broker.dead]
    return found


def _ends(world: World, records: list[dict[str, Any]]) -> Iterator[str]:
    """Exactly one end a run and retry, told under one id, with one content: the last is the stored one."""
    told: dict[str, dict[int, set[tuple[str, str]]]] = {}
    for message_id, fact in world.broker.heard(RunFinished):
        told.setdefault(fact.run_id, {}).setdefault(fact.retries, set()).add((message_id, fact.model_dump_json()))
    for record in records:
        ends = told.get(record["_id"], {})
        if record.get("imported"):
            yield from [f"the end of imported run {record['_id']} was told"] if ends else []
            continue
        for retries in range(max(ends, default=0) + 1):
            if len(ends.get(retries, ())) != 1:
                yield f"run {record['_id']} was told to have {len(ends.get(retries, ()))} ends after {retries} retries"
        if ends and {content for _, content in ends[max(ends)]} != {record.get("finished")}:
            yield f"run {record['_id']} was told another end than is stored"


async def _journals(world: World, records: list[dict[str, Any]]) -> list[str]:
    """Positions without gaps, each step once, and no line of an owner behind its successor's."""
    found = []
    for record in records:
        own = await world.journal(record["_id"])
        if record.get("imported") and {len(own)} != {fact.lines for _, fact in world.broker.heard(RunImported)}:
            found.append(f"imported run {record['_id']} holds {len(own)} lines, or nobody was told of it")
        if len(own) != await world.database.collection("journal").count({"run_id": record["_id"]}):
            found.append(f"journal of {record['_id']} has gaps")
        epochs = [line.epoch for line in own]
        if epochs != sorted(epochs) or (epochs and epochs[-1] > record["epoch"]):
            found.append(f"journal of {record['_id']} holds a late write: epochs {epochs}, run {record['epoch']}")
        discarded = Counter(path for line in own for path in line.discards)
        finished = Counter(line.path for line in own if line.kind == "step")
        twice = [path for path, count in finished.items() if count > 1 + discarded[path]]
        left = [line.batch.batch_id for line in own if line.batch and world.batches.is_running(line.batch.batch_id)]
        found += [f"batch {batch_id} of {record['_id']} goes on at the provider" for batch_id in left]
        if twice:
            found.append(f"steps of {record['_id']} finished twice: {twice}")
    return found


def gist(played: Played) -> Any:
    """What must not depend on what broke."""
    return {place: _gist(end) for place, end in sorted(played.ends.items())}


def _gist(end: RunFinished) -> Any:
    steps = sorted((step.position, step.status) for step in end.steps)
    return end.status, end.outputs, end.error, end.error_code, steps


def called_too_often(played: Played, reference: Played, spare: int) -> list[str]:
    """One death costs at most one more call for each call that was under way."""
    more = {call: count - reference.world.calls[call] for call, count in played.world.calls.items()}
    return [f"{call} was made {count} times too often" for call, count in more.items() if count > spare]


async def ledger_problems(played: Played, reference: Played) -> list[str]:
    """A scope's counters are never below what was used; what was counted for a run whose claim was lost stays counted."""
    used = await played.world.database.collection("scope_usage").get("scope-1") or {}
    exact = await reference.world.database.collection("scope_usage").get("scope-1") or {}
    calls = sum(played.world.calls.values())
    found = []
    if exact and used.get("calls", 0) < calls:
        found.append(f"the scope counts {used.get('calls')} calls, {calls} were made")
    told = played.end.usage if played.end else Usage()
    if exact and used.get("tokens", 0) < told.input_tokens + told.output_tokens:
        found.append(f"the scope counts {used.get('tokens')} tokens, {told.input_tokens + told.output_tokens} were used")
    if exact and not exact["runs"] <= used["runs"] <= 2 * exact["runs"] + 1:
        found.append(f"the scope counts {used['runs']} runs instead of {exact['runs']}")
    return found


def places(reference: Played) -> list[Place]:
    passed = reference.first.boundaries.passed
    return [Place(name, number) for name, count in Counter(passed).items() for number in range(count)]
