"""Outcomes of a rollout are removed when it ended long ago; what it found stays."""

from __future__ import annotations

from datetime import timedelta

from services.guardrail.adapters import rollouts
from services.guardrail.domain.rollout import numbers
from services.guardrail.use_cases.rollouts.forgetting import KEPT_DAYS, forget_outcomes
from services.guardrail.use_cases.rollouts.queries import get_rollout
from shared.events.rollouts import GetRollout
from tests.fakes.rollout_flow import HALF, Flow, is_done

DAY = 24 * 60


async def ended() -> Flow:
    flow = Flow()
    await flow.begin(HALF)
    for unit in range(3):
        for arm in ("canary", "control"):
            await flow.ran(arm, 2, unit_id=f"user-{arm}-{unit}")
    assert is_done(await flow.control("abort"))
    return flow


async def kept(flow: Flow) -> tuple[int, int]:
    """(outcomes, units)"""
    database = flow.bench.database
    return await database.collection("rollout_outcomes").count({}), await database.collection("rollout_units").count({})


async def test_outcomes_go_when_the_rollout_ended_long_ago_and_its_numbers_stay() -> None:
    flow = await ended()
    assert await kept(flow) == (12, 6)
    before = await get_rollout(GetRollout(rollout_id="r1"), flow.bench.at)
    entries = await flow.bench.at.audit.entries()
    await flow.pass_minutes(KEPT_DAYS * DAY - 1)
    assert await forget_outcomes(flow.bench.at) == 0
    assert await kept(flow) == (12, 6)
    await flow.pass_minutes(2)
    assert await forget_outcomes(flow.bench.at) == 1
    assert await kept(flow) == (0, 0)
    assert await get_rollout(GetRollout(rollout_id="r1"), flow.bench.at) == before
    assert await flow.bench.at.audit.entries() == entries
    assert await forget_outcomes(flow.bench.at) == 0


async def test_a_rollout_that_goes_on_or_whose_name_begins_alike_keeps_its_own() -> None:
    flow = Flow()
    await flow.begin(HALF)
    await flow.ran("canary", 2, unit_id="user-1")
    units = flow.bench.database.collection("rollout_units")
    for name in ("r10/open/run/user-1", "r1", "r/open/run/user-1"):
        await units.insert_once({"_id": name, "outcome": "o1"})
    await flow.pass_minutes(2 * KEPT_DAYS * DAY)
    assert await forget_outcomes(flow.bench.at) == 0
    assert await kept(flow) == (2, 4)
    await flow.bench.at.rollouts.clear("r1")
    assert await kept(flow) == (0, 3)


async def test_more_than_one_part_is_removed_whole() -> None:
    flow = await ended()
    for number in range(rollouts.REMOVED_TOGETHER + 50):
        await flow.bench.database.collection("rollout_units").insert_once({"_id": f"r1/open/run/{number}", "outcome": "o"})
    flow.bench.clock.pass_seconds(timedelta(days=KEPT_DAYS + 1).total_seconds())
    assert await forget_outcomes(flow.bench.at) == 1
    assert await kept(flow) == (0, 0)
    record = await flow.record()
    assert numbers(record).canary.runs == 6 and record.cleared
