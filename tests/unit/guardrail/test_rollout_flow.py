"""A rollout from its start to its end, in memory: what evidence makes of it."""

from __future__ import annotations

from services.guardrail.use_cases.rollouts.observing import report_outcome
from shared.events.deployments import PipelineDeployed, PipelineRolledBack
from shared.events.rollouts import (
    ReportOutcome,
    RolloutCompleted,
    RolloutHeld,
    RolloutPaused,
    RolloutPlan,
    RolloutRefused,
    RolloutResumed,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStep,
    RolloutStepped,
)
from shared.events.runs import ShadowOrigin
from tests.fakes.guardrail import pipeline
from tests.fakes.rollout_flow import HALF, Flow, is_done


async def test_a_good_canary_goes_up_step_by_step_and_becomes_stable() -> None:
    flow = Flow()
    await flow.begin()
    deployment = await flow.deployment()
    assert (deployment.stable, deployment.canary) == (flow.stable, flow.canary)
    assert deployment.rollout is not None
    assert deployment.rollout.share == 0.1
    for _ in range(2):
        await flow.ran("canary", 5)
        await flow.ran("control", 5)
        await flow.pass_minutes(2)
    record, deployment = await flow.record(), await flow.deployment()
    assert record.state == "completed"
    assert (deployment.stable, deployment.canary, deployment.previous[-1]) == (flow.canary, None, flow.stable)
    assert flow.order() == ["RolloutStarted", "RolloutStepped", "RolloutCompleted", "PipelineDeployed"]
    assert [fact.share for fact in (*flow.said(RolloutStarted), *flow.said(RolloutStepped))] == [0.1, 0.5]
    assert flow.said(RolloutCompleted)[0].numbers.canary.runs == 10
    assert flow.said(PipelineDeployed)[0].generation == deployment.generation


async def test_time_and_sample_are_both_waited_for() -> None:
    flow = Flow()
    await flow.begin()
    await flow.ran("canary", 9)
    await flow.ran("control", 4)
    assert "more minutes" in (await flow.record()).waits_for
    await flow.pass_minutes(2)
    record = await flow.record()
    assert (record.step, record.held) == (0, "no_data")
    assert "1 more runs an arm" in record.waits_for
    assert [fact.reason for fact in flow.said(RolloutHeld)] == [record.waits_for]
    await flow.pass_minutes(60)
    assert len(flow.said(RolloutHeld)) == 1
    await flow.ran("control")
    assert (await flow.record()).step == 1


async def test_a_broken_canary_is_gone_within_ten_of_its_runs_with_all_that_was_bred_from_it() -> None:
    flow = Flow()
    await flow.begin()
    child = pipeline("Say the tone and be brief: {{ text }}")
    await flow.bench.propose(child, "c3", deploy=False, parent_digest=flow.canary)
    for _ in range(10):
        await flow.ran("control")
        await flow.ran("canary", status="failed")
        if (await flow.record()).closed:
            break
    record, deployment = await flow.record(), await flow.deployment()
    assert record.state == "rolled_back"
    assert record.evidence.canary.runs <= 10
    assert (deployment.stable, deployment.canary, deployment.rollout) == (flow.stable, None, None)
    (told,) = flow.said(RolloutRolledBack)
    assert "broken" in told.reason
    assert set(told.quarantined) == set(flow.said(PipelineRolledBack)[0].quarantined)
    assert len(told.quarantined) == 2
    assert await flow.bench.at.revisions.is_quarantined(flow.canary)
    (refused,) = await flow.start(rollout_id="r2")
    assert isinstance(refused, RolloutRefused)
    assert "quarantined" in refused.reason


async def test_when_both_arms_fail_nobody_is_rolled_back() -> None:
    flow = Flow()
    await flow.begin()
    for _ in range(40):
        await flow.ran("control", status="failed")
        await flow.ran("canary", status="failed")
    assert (await flow.record()).state == "running"


async def test_a_canary_replaces_a_stable_revision_that_never_succeeds() -> None:
    flow = Flow()
    await flow.begin(
        HALF.model_copy(update={"steps": (*(s.model_copy(update={"margin": 0.05}) for s in HALF.steps[:2]), HALF.steps[2])})
    )
    for _ in range(2):
        await flow.ran("control", 8, status="failed")
        await flow.ran("canary", 8)
        await flow.pass_minutes(2)
    record = await flow.record()
    assert (record.state, record.closed) == ("completed", True)
    assert (await flow.deployment()).stable == flow.canary


async def test_a_worse_canary_is_rolled_back_by_what_users_report() -> None:
    flow = Flow()
    await flow.begin()
    for number in range(60):
        for arm, score in (("canary", 0.1), ("control", 0.9)):
            await flow.ended(f"{arm}-{number}", arm)
            await report_outcome(ReportOutcome(run_id=f"{arm}-{number}", score=score), flow.pace)
    record = await flow.record()
    assert record.state == "rolled_back"
    assert "reported outcomes" in record.history[-1].text


async def test_unequal_arms_hold_until_they_are_equal_again() -> None:
    flow = Flow()
    await flow.begin()
    await flow.ran("canary", 60)
    await flow.ran("control", 10)
    await flow.pass_minutes(5)
    record = await flow.record()
    assert (record.state, record.held, record.step) == ("running", "mismatch", 0)
    await flow.ran("control", 50)
    assert (await flow.record()).step == 1


async def test_a_slower_canary_pauses_and_a_person_goes_on() -> None:
    flow = Flow()
    await flow.begin()
    for number in range(60):
        await flow.ran("canary", latency_seconds=3.0 + number % 3)
        await flow.ran("control", latency_seconds=1.0 + number % 3 / 3)
    record = await flow.record()
    assert record.state == "paused"
    assert "latency" in record.paused_for
    assert [fact.reason for fact in flow.said(RolloutPaused)] == [record.paused_for]
    assert is_done(await flow.control("resume"))
    await flow.pass_minutes(2)
    assert (await flow.record()).step == 1
    assert len(flow.said(RolloutResumed)) == 1


async def test_guards_act_while_a_rollout_is_paused() -> None:
    flow = Flow()
    await flow.begin()
    await flow.control("pause")
    await flow.ran("control", 10)
    await flow.ran("canary", 10, status="failed")
    assert (await flow.record()).state == "rolled_back"


async def test_a_new_stable_revision_that_turns_bad_is_taken_back_by_the_watch() -> None:
    flow = Flow()
    await flow.begin(HALF.model_copy(update={"watch_runs": 200}))
    for _ in range(2):
        await flow.ran("canary", 20)
        await flow.ran("control", 20)
        await flow.pass_minutes(2)
    assert ((await flow.record()).state, (await flow.record()).closed) == ("completed", False)
    await flow.ran("canary", 20, status="failed")
    record, deployment = await flow.record(), await flow.deployment()
    assert record.state == "rolled_back"
    assert (deployment.stable, deployment.rollout) == (flow.stable, None)
    assert await flow.bench.at.revisions.is_quarantined(flow.canary)
    assert len(flow.said(PipelineRolledBack)) == 1


async def test_the_watch_ends_after_its_runs_or_its_hours() -> None:
    for hours, runs in ((25.0, 0), (0.0, 20)):
        flow = Flow()
        await flow.begin()
        for _ in range(2):
            await flow.ran("canary", 20)
            await flow.ran("control", 20)
            await flow.pass_minutes(2)
        await flow.ran("canary", runs)
        await flow.pass_minutes(hours * 60)
        record = await flow.record()
        assert (record.state, record.closed) == ("completed", True)
        assert (await flow.deployment()).rollout is None


async def test_shadow_pairs_are_counted_and_a_bad_shadow_serves_nobody() -> None:
    steps = (RolloutStep(share=0.0, minutes=0, sample=12), RolloutStep(share=0.5), RolloutStep(share=1.0))
    for status, state, share in (("succeeded", "running", 0.5), ("failed", "rolled_back", 0.0)):
        flow = Flow()
        await flow.begin(RolloutPlan(steps=steps))
        deployment = await flow.deployment()
        assert (deployment.shadow, deployment.rollout and deployment.rollout.share) == (flow.canary, 0.0)
        for number in range(12):
            origin = ShadowOrigin(run_id=f"p{number}", rollout_id="r1", status="succeeded")
            await flow.ended(f"s{number}", "", status, purpose="shadow", shadow_of=origin, rollout_id=None)
        record = await flow.record()
        assert (record.state, record.share) == (state, share)
        assert (await flow.deployment()).shadow is None
