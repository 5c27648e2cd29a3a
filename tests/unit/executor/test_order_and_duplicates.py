"""Whatever the order in which the messages of some runs come, and however often: the same state.

Left out is what means something else in another order: a pause behind its resumption, a retry before there is an end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.events import Command
from shared.events.runs import CancelRun, ExecuteRun, RunFinished
from tests.fakes.cluster import Cluster, trial_of
from tests.fakes.crash_play import broken_rules, until
from tests.fakes.crash_scenarios import ALWAYS, INNER, NEST, Scenario, asking
from tests.fakes.durable_boundaries import Boundaries
from tests.fakes.world import World

FLAT = {"name": "flat", "steps": [asking("s0"), asking("s1")]}
OUTER = {"name": "outer", "steps": [NEST, asking("s1")]}
HANGING = {"name": "hanging", "steps": [asking("hang")]}
ANY = Scenario("any", FLAT, "succeeded", hangs=ALWAYS)


def messages(world: World) -> list[Command]:
    return [
        ExecuteRun(run_id="flat", pipeline="flat"),
        ExecuteRun(run_id="outer", pipeline="outer"),
        trial_of(world, INNER, run_id="trial", inputs={"n": 3}),
        ExecuteRun(run_id="cut", pipeline="hanging"),
        CancelRun(run_id="cut", author="ann", reason="enough"),
        CancelRun(run_id="never", author="ann"),
    ]


ORDERS = st.lists(st.integers(1, 3), min_size=6, max_size=6).flatmap(
    lambda times: st.permutations([(number, copy) for number, count in enumerate(times) for copy in range(count)])
)
"""(message, which copy of it), each message once to three times."""


async def state_after(order: Sequence[tuple[int, int]]) -> tuple[Any, list[str]]:
    world = World()
    await ANY.order(world)
    for document in (OUTER, HANGING):
        await world.notary.deploy(world.guardrail, document)
    async with Cluster(world) as cluster:
        for name in ("first", "second"):
            cluster.start(name, Boundaries())
        sent = messages(world)
        for number, copy in order:
            await world.send(sent[number], copy=str(copy))
            await asyncio.sleep(0)
        await until(cluster.at_rest, "not at rest")
        problems = await broken_rules(world, cluster, ANY)
    ends = {fact.run_id: fact for _, fact in world.broker.heard(RunFinished)}
    state = {
        run_id: (end.status, end.outputs, end.error, sorted((step.position, step.status) for step in end.steps))
        for run_id, end in sorted(ends.items())
    }
    return state, [*problems, *(f"asked again: {call}" for call, count in world.calls.items() if count > 1)]


EXPECTED, _ = asyncio.run(state_after([(number, 0) for number in range(6)]))


def test_the_reference_is_what_the_messages_say() -> None:
    assert {run_id: state[0] for run_id, state in EXPECTED.items() if len(run_id) < 10} == {
        "cut": "cancelled",
        "flat": "succeeded",
        "outer": "succeeded",
        "trial": "succeeded",
    }
    assert len(EXPECTED) == 5, "the nested run has an end of its own"


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=ORDERS)
def test_commands_in_any_order_and_up_to_three_times_end_in_the_same_state(order: Sequence[tuple[int, int]]) -> None:
    state, problems = asyncio.run(state_after(order))
    assert problems == []
    assert state == EXPECTED
