"""Runs of one user or session are alike: a rollout judges by each of them once, and stands still where all runs say more."""

from __future__ import annotations

import math

import pytest

from bench.guardrail.users import Users, false_rollbacks
from services.guardrail.use_cases.rollouts.observing import report_outcome
from shared.events.rollouts import ReportOutcome, RolloutAborted, RolloutPaused, RolloutResumed
from shared.events.runs import ShadowOrigin
from tests.fakes.rollout_flow import HALF, Flow


async def test_each_user_is_compared_once_and_every_run_is_counted_for_the_sample() -> None:
    flow = Flow()
    await flow.begin()
    for arm in ("canary", "control"):
        for user in range(2):
            await flow.ran(arm, 2, unit_id=f"{arm}-{user}")
    record = await flow.record()
    assert (record.evidence.canary.runs, record.every.canary.runs, record.evidence.success.pairs) == (2, 4, 2)
    await flow.ran("canary")
    await flow.ran("control")
    record = await flow.record()
    assert (record.evidence.canary.runs, record.every.canary.runs) == (3, 5)
    await flow.pass_minutes(2)
    assert (await flow.record()).step == 1, "five runs an arm are the sample"


async def test_the_first_reported_run_of_a_user_is_its_outcome() -> None:
    flow = Flow()
    await flow.begin()
    for number in range(3):
        await flow.ended(f"a{number}", "canary", unit_id="u")
    for number, score in ((1, 0.25), (2, 0.75), (0, 0.5)):
        await report_outcome(ReportOutcome(run_id=f"a{number}", score=score), flow.pace)
    assert (await flow.record()).evidence.quality.waiting == (0.25,)


async def test_a_user_that_was_outside_of_the_comparison_is_compared_when_the_share_goes_up() -> None:
    flow = Flow()
    await flow.begin()
    await flow.ran("outside", 3, unit_id="u")
    await flow.ran("canary", 3, unit_id="u")
    evidence = (await flow.record()).evidence
    assert (evidence.outside.runs, evidence.canary.runs) == (1, 1)


async def test_a_canary_that_fails_for_one_user_only_is_taken_away_and_not_condemned() -> None:
    flow = Flow()
    await flow.begin()
    for number in range(10):
        await flow.ran("control", unit_id=f"c{number}")
        await flow.ran("canary", status="failed", unit_id="one")
    record, deployment = await flow.record(), await flow.deployment()
    assert (record.state, record.every.canary.runs <= 10) == ("aborted", True)
    assert (deployment.stable, deployment.canary, deployment.rollout) == (flow.stable, None, None)
    assert not await flow.bench.at.revisions.is_quarantined(flow.canary)
    assert "all of them of 1 users or sessions" in flow.said(RolloutAborted)[0].reason


async def test_a_canary_that_is_worse_in_runs_of_too_few_users_waits_for_a_person_who_may_go_on() -> None:
    flow = Flow()
    await flow.begin()
    for number in range(120):
        await flow.ran("control", unit_id=f"c{number % 4}")
        await flow.ran("canary", status="degraded" if number % 2 else "succeeded", unit_id=f"k{number % 4}")
    record = await flow.record()
    assert (record.state, record.evidence.alarm, record.every.alarm) == ("paused", "", "success")
    assert "all of them of 4 users or sessions" in flow.said(RolloutPaused)[0].reason
    await flow.control("resume")
    await flow.ran("canary", unit_id="k1")
    assert (await flow.record()).state == "running"
    assert len(flow.said(RolloutPaused)) == len(flow.said(RolloutResumed)) == 1


async def test_shadow_runs_of_one_user_are_one_pair() -> None:
    flow = Flow()
    await flow.begin()
    for number in range(3):
        origin = ShadowOrigin(run_id=f"p{number}", rollout_id="r1", status="succeeded")
        await flow.ended(f"s{number}", "", "failed", purpose="shadow", shadow_of=origin, rollout_id=None, unit_id="u")
    record = await flow.record()
    assert (record.evidence.success.pairs, record.every.shadow_runs) == (1, 3)


@pytest.mark.parametrize(("users", "state"), [(1, "completed"), (20, "rolled_back")])
async def test_the_watch_takes_a_revision_back_for_many_users_not_for_one_whose_runs_all_fail(users: int, state: str) -> None:
    flow = Flow()
    await flow.begin(HALF.model_copy(update={"watch_runs": 200}))
    for step in range(2):
        for number in range(20):
            await flow.ran("canary", unit_id=f"k{number}")
            await flow.ran("control", unit_id=f"c{number}-{step}")
        await flow.pass_minutes(2)
    for number in range(20):
        await flow.ran("canary", status="failed", unit_id=f"k{number % users}")
    record = await flow.record()
    assert record.watch is not None
    assert (record.state, record.closed, record.watch.runs == 20) == (state, users > 1, users == 1)


def test_of_rollouts_of_equal_revisions_with_few_users_at_most_five_percent_are_rolled_back() -> None:
    rollouts = 60
    by_users, by_runs = false_rollbacks(Users(50, 0.3), 0.9, rollouts=rollouts, runs=1000, seed=1)
    assert by_users <= math.floor(0.05 * rollouts) < by_runs
