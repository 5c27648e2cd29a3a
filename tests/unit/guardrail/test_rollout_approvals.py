"""An approval is for the step that a person saw."""

from __future__ import annotations

from shared.events.rollouts import RolloutPlan, RolloutRefused, RolloutStep
from tests.fakes.rollout_flow import Flow, is_done


async def test_two_people_who_approve_the_same_step_pass_one_step() -> None:
    wait = RolloutStep(share=0.1, minutes=0, sample=0, approval=True)
    flow = Flow()
    await flow.begin(RolloutPlan(steps=(wait, wait.model_copy(update={"share": 0.5}), RolloutStep(share=1.0))))
    assert "`evoline rollout approve r1 --step 1`" in (await flow.record()).waits_for
    assert is_done(await flow.control("approve_step", step=1))
    (refused,) = await flow.control("approve_step", author="hedy", step=1)
    assert isinstance(refused, RolloutRefused)
    assert "for step 1, but the rollout is at step 2 (50%)" in refused.reason
    assert "`evoline rollout approve r1 --step 2`" in refused.reason
    record = await flow.record()
    assert (record.state, record.step, record.held) == ("running", 1, "approval")
    assert is_done(await flow.control("approve_step", author="hedy", step=2))
    assert (await flow.record()).state == "completed"


async def test_an_approval_of_a_step_that_is_over_says_where_the_present_one_asks_for_none() -> None:
    first = RolloutStep(share=0.1, minutes=0, sample=0, approval=True)
    flow = Flow()
    await flow.begin(RolloutPlan(steps=(first, RolloutStep(share=0.5, minutes=60, sample=0), RolloutStep(share=1.0))))
    assert is_done(await flow.control("approve_step", step=1))
    (refused,) = await flow.control("approve_step", author="hedy", step=1)
    assert isinstance(refused, RolloutRefused)
    assert "step 2 (50%), which asks for no approval; it waits for" in refused.reason
