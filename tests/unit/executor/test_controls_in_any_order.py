"""Whatever the order in which controls come, and however often: each is done once, was done before, or is refused.

Some mean something else in another order (a pause behind its resumption, a retry before there is an end), so whoever sends them
looks afterwards, and asks again for what is still missing. Then the state is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.events import Command
from shared.events.runs import CancelRun, ExecuteRun, ForkRun, PauseRun, ResumeRun, RetryRun, RunFinished
from tests.fakes.broker import Stored
from tests.fakes.cluster import Cluster
from tests.fakes.crash_play import broken_rules, until
from tests.fakes.crash_scenarios import ALWAYS, FORKED, Scenario, asking, failing_first
from tests.fakes.durable_boundaries import Boundaries
from tests.fakes.world import World

DOCUMENTS: list[dict[str, Any]] = [
    {"name": "held", "steps": [asking("s0"), asking("s1"), asking("s2")]},
    {"name": "failing", "steps": [asking("s0"), asking("flaky")]},
    {"name": "hanging", "steps": [asking("hang")]},
    FORKED,
]
ANY = Scenario("any", DOCUMENTS[0], "succeeded", script=failing_first, hangs=ALWAYS)
RESUME, RETRY = ResumeRun(run_id="held", author="ann"), RetryRun(run_id="failing", author="ann")
FORK = ForkRun(run_id="source", new_run_id="fork", from_step="s1", inputs={"n": 2}, author="ann")
GROUPS: dict[str, tuple[Command, ...]] = {
    "held": (ExecuteRun(run_id="held", pipeline="held"), PauseRun(run_id="held", author="ann"), RESUME),
    "failing": (ExecuteRun(run_id="failing", pipeline="failing"), RETRY, CancelRun(run_id="unknown", author="ann")),
    "source": (ExecuteRun(run_id="source", pipeline="forking", inputs={"n": 1}), FORK),
    "cut": (
        ExecuteRun(run_id="cut", pipeline="hanging"),
        PauseRun(run_id="cut", author="ann"),
        CancelRun(run_id="cut", author="ann", reason="enough"),
    ),
}
"""Commands that have to do with one run."""
Sent = tuple[Command, int]
"""A command, and which copy of it."""


def copies(group: str) -> st.SearchStrategy[list[Sent]]:
    """In any order, each once to three times."""
    commands = GROUPS[group]
    times = st.lists(st.integers(1, 3), min_size=len(commands), max_size=len(commands))
    return times.flatmap(
        lambda counts: st.permutations([(each, copy) for each, n in zip(commands, counts, strict=True) for copy in range(n)])
    )


ORDERS = st.sampled_from(list(GROUPS)).flatmap(lambda group: st.tuples(st.just(group), copies(group)))
LATE = st.lists(st.integers(0, 10_000), max_size=8)
"""Messages that come again when everything is over, by their place among all."""
WANTED = {"held": "succeeded", "failing": "succeeded", "source": "succeeded", "fork": "succeeded", "cut": "cancelled"}


class Sender:
    """Sends in the given order, then asks again for what is still missing; keeps every message, those of the executors too."""

    def __init__(self, world: World, cluster: Cluster) -> None:
        self.stored: dict[int, Stored] = {}
        self._world = world
        self._cluster = cluster

    async def send(self, command: Command, copy: str) -> None:
        await self._world.send(command, copy=copy)
        await asyncio.sleep(0)
        self._keep()

    async def rest(self) -> None:
        def at_rest() -> bool:
            self._keep()
            return self._cluster.at_rest()

        await until(at_rest, "not at rest")

    async def ask_for_the_rest(self) -> None:
        status = {each["_id"]: each["status"] for each in await self._world.database.collection("runs").find({})}
        missing = [
            (RESUME, status.get("held") == "paused"),
            (RETRY, status.get("failing") == "failed"),
            (FORK, "source" in status and "fork" not in status),
        ]
        for command, is_missing in missing:
            if is_missing:
                await self.send(command, "asked for again")
        await self.rest()

    async def deliver_again(self, places: Sequence[int]) -> None:
        """As the broker does where it did not hear the acknowledgement."""
        broker, known = self._world.broker, [self.stored[sequence] for sequence in sorted(self.stored)]
        for place in places:
            again = known[place % len(known)]
            broker.commands[again.sequence] = again
            broker.offer(again.sequence)
            await asyncio.sleep(0)
        await self.rest()

    def _keep(self) -> None:
        self.stored |= self._world.broker.commands


async def state_after(order: Sequence[Sent], late: Sequence[int]) -> tuple[Any, list[str]]:
    world = World()
    await ANY.order(world)
    for document in DOCUMENTS:
        await world.notary.deploy(world.guardrail, document)
    async with Cluster(world) as cluster:
        for name in ("first", "second"):
            cluster.start(name, Boundaries())
        sender = Sender(world, cluster)
        for command, copy in order:
            await sender.send(command, str(copy))
        await sender.rest()
        await sender.ask_for_the_rest()
        before = _state(world)
        await sender.deliver_again(late)
        problems = [each for each in await broken_rules(world, cluster, ANY) if not each.startswith("dead letter")]
    asked_too_often = [call for call, count in world.calls.items() if count > (2 if call[1] in ("flaky", "hang") else 1)]
    changed = [] if _state(world) == before else ["changed by what came late"]
    return _state(world), [*problems, *changed, *(f"asked again: {call}" for call in asked_too_often)]


def _state(world: World) -> Any:
    ends: dict[str, RunFinished] = {}
    for _, fact in world.broker.heard(RunFinished):
        if fact.run_id not in ends or fact.retries > ends[fact.run_id].retries:
            ends[fact.run_id] = fact
    return {run_id: (end.status, end.outputs, end.error, end.retries) for run_id, end in sorted(ends.items())}


EXPECTED = {group: asyncio.run(state_after([(command, 0) for command in commands], [])) for group, commands in GROUPS.items()}


def test_the_reference_is_what_the_commands_say() -> None:
    states = {run_id: end for state, _ in EXPECTED.values() for run_id, end in state.items()}
    assert {run_id: status for run_id, (status, *_) in states.items()} == WANTED
    assert states["failing"][3] == 1
    assert [problems for _, problems in EXPECTED.values()] == [[]] * len(GROUPS)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=ORDERS, late=LATE)
def test_controls_in_any_order_up_to_three_times_and_late_ones_end_in_the_same_state(
    order: tuple[str, Sequence[Sent]], late: Sequence[int]
) -> None:
    group, sent = order
    state, problems = asyncio.run(state_after(sent, late))
    assert problems == []
    assert state == EXPECTED[group][0]
