"""What people and changes ask of rollouts, and what is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.domain.policy import Policy
from services.guardrail.domain.records import moved
from services.guardrail.domain.rollout import served
from services.guardrail.use_cases.freezing import freeze_system, unfreeze_system
from services.guardrail.use_cases.quarantine import quarantine_revision
from services.guardrail.use_cases.queries import get_pipeline
from services.guardrail.use_cases.rollbacks import roll_back
from services.guardrail.use_cases.rollouts.advancing import advance_all
from services.guardrail.use_cases.rollouts.queries import get_rollout, list_rollouts
from services.guardrail.use_cases.rollouts.starting import start_rollout
from shared.events.changes import ChangeVetoed
from shared.events.deployments import GetPipeline, RollbackPipeline
from shared.events.recovery import FreezeSystem, QuarantineRevision, UnfreezeSystem
from shared.events.rollouts import (
    GetRollout,
    ListRollouts,
    RolloutAborted,
    RolloutPlan,
    RolloutRefused,
    RolloutStarted,
    RolloutStep,
    StartRollout,
)
from tests.fakes.guardrail import facts, pipeline, shipped_policy
from tests.fakes.people import identity, key_of
from tests.fakes.rollout_flow import BETTER, HALF, Flow, is_done


async def test_an_approval_is_a_persons_and_never_the_authors() -> None:
    steps = (RolloutStep(share=0.5, minutes=0, sample=0, approval=True), RolloutStep(share=1.0))
    flow = Flow()
    await flow.begin(RolloutPlan(steps=steps))
    assert (await flow.record()).held == "approval"
    for author, why in (("ada", "author never approves"), ("guardrail", "no person")):
        (refused,) = await flow.control("approve_step", author=author)
        assert isinstance(refused, RolloutRefused)
        assert why in refused.reason
    assert (await flow.record()).state == "running"
    assert is_done(await flow.control("approve_step"))
    assert (await flow.record()).state == "completed"


async def test_nobody_behind_the_revision_approves_a_step_under_whatever_name() -> None:
    steps = (RolloutStep(share=0.5, minutes=0, sample=0, approval=True), RolloutStep(share=1.0))
    flow = Flow(requested_by="bob")
    await flow.begin(RolloutPlan(steps=steps))
    flow.bench.identities.add(identity("ada"))
    flow.bench.identities.add(identity("lovelace", key=key_of("ada")))
    for author in ("Ada", "lovelace", "bob", "BOB"):
        for verb in ("approve_step", "complete_now"):
            (refused,) = await flow.control(verb, author=author)
            assert isinstance(refused, RolloutRefused), (author, verb)
    assert (await flow.record()).step == 0


async def test_an_approval_that_is_delivered_again_does_not_pass_the_next_step() -> None:
    wait = RolloutStep(share=0.1, minutes=0, sample=0, approval=True)
    flow = Flow()
    await flow.begin(RolloutPlan(steps=(wait, wait.model_copy(update={"share": 0.5}), RolloutStep(share=1.0))))
    for _ in range(3):
        assert is_done(await flow.control("approve_step", message_id="the approval"))
        record = await flow.record()
        assert (record.state, record.step, record.held) == ("running", 1, "approval")
    assert is_done(await flow.control("approve_step"))
    assert (await flow.record()).state == "completed"


async def test_a_pause_that_is_delivered_again_after_a_resume_stays_without_effect() -> None:
    flow = Flow()
    await flow.begin()
    assert is_done(await flow.control("pause", message_id="p1"))
    assert is_done(await flow.control("pause", message_id="p2"))
    assert is_done(await flow.control("resume"))
    for message_id in ("p1", "p2"):
        assert is_done(await flow.control("pause", message_id=message_id))
        assert (await flow.record()).state == "running"


async def test_an_abort_that_is_delivered_again_is_no_error() -> None:
    flow = Flow()
    await flow.begin()
    for _ in range(2):
        assert is_done(await flow.control("abort", message_id="a1"))


async def test_aborting_takes_the_canary_away_without_a_judgement() -> None:
    flow = Flow()
    await flow.begin()
    (refused,) = await flow.control("abort", reason="")
    assert isinstance(refused, RolloutRefused)
    assert "reason" in refused.reason
    assert is_done(await flow.control("abort"))
    deployment = await flow.deployment()
    assert (deployment.canary, deployment.rollout, deployment.stable) == (None, None, flow.stable)
    assert not await flow.bench.at.revisions.is_quarantined(flow.canary)
    assert [fact.author for fact in flow.said(RolloutAborted)] == ["grace"]
    before = await flow.record()
    assert is_done(await flow.start(rollout_id="r2"))
    again = await flow.bench.at.rollouts.get("r2")
    assert again is not None
    assert again.salt == before.salt


async def test_completing_at_once_needs_a_person_with_a_reason() -> None:
    flow = Flow()
    await flow.begin()
    assert isinstance((await flow.control("complete_now", author="ada"))[0], RolloutRefused)
    assert isinstance((await flow.control("complete_now", reason=""))[0], RolloutRefused)
    assert is_done(await flow.control("complete_now"))
    assert (await flow.deployment()).stable == flow.canary


async def test_a_second_rollout_is_refused_saying_which_one_runs() -> None:
    flow = Flow()
    await flow.begin()
    (refused,) = await flow.start(rollout_id="r2")
    assert isinstance(refused, RolloutRefused)
    assert "rollout r1" in refused.reason
    assert is_done(await flow.start())
    assert len(flow.said(RolloutStarted)) == 1


async def test_a_change_that_would_deploy_meanwhile_is_vetoed_saying_why() -> None:
    flow = Flow()
    await flow.begin()
    (vetoed,) = await flow.bench.propose(pipeline("Say the mood of: {{ text }}"), "c9")
    assert isinstance(vetoed, ChangeVetoed)
    assert "rollout r1" in vetoed.reasons[0]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"pipeline": "unknown"}, "no pipeline"),
        ({"digest": "0" * 12}, "names 0 approved revisions"),
    ],
)
async def test_what_cannot_be_rolled_out_is_refused_with_a_reason(fields: dict[str, Any], why: str) -> None:
    flow = Flow()
    await flow.begin()
    (refused,) = await flow.start(**{"rollout_id": "r9", **fields})
    assert isinstance(refused, RolloutRefused)
    assert why in refused.reason


async def test_the_stable_revision_is_not_rolled_out_over_itself() -> None:
    flow = Flow()
    await flow.bench.propose(pipeline())
    flow.canary = (await flow.deployment()).stable
    (refused,) = await flow.start()
    assert "stable revision already" in getattr(refused, "reason")  # noqa: B009


async def test_a_change_with_a_plan_is_rolled_out_instead_of_deployed_at_once() -> None:
    flow = Flow()
    await flow.bench.propose(pipeline())
    stable = (await flow.deployment()).stable
    told = await flow.bench.propose(BETTER, "c2", rollout=HALF)
    assert [type(fact).__name__ for fact in told] == ["ChangeApproved"]
    deployment = await flow.deployment()
    assert (deployment.stable, deployment.canary) == (stable, getattr(told[0], "digest"))  # noqa: B009
    assert flow.said(RolloutStarted)[0].change_id == "c2"
    again = await flow.bench.propose(BETTER, "c2", rollout=HALF)
    assert again == told
    assert len(flow.said(RolloutStarted)) == 1


async def test_a_first_revision_has_nothing_to_be_compared_with_and_is_deployed() -> None:
    flow = Flow()
    await flow.bench.propose(pipeline(), rollout=HALF)
    assert (await flow.deployment()).rollout is None


async def test_a_rollback_by_people_ends_the_rollout_over_it() -> None:
    flow = Flow()
    await flow.bench.propose(pipeline("Guess: {{ text }}"), "c0")
    await flow.begin()
    await flow.bench.at.deployments.get("triage")
    command = RollbackPipeline(rollback_id="rb", pipeline="triage", reason="wrong", author="grace")
    if (await flow.deployment()).previous:
        await roll_back(command, flow.bench.at)
        await flow.pass_minutes(1)
        assert (await flow.record()).state == "aborted"
        assert (await flow.deployment()).canary is None
    else:
        pytest.fail("the pipeline has a former revision to go back to")


async def test_rollouts_can_be_asked_about_by_id_and_by_pipeline() -> None:
    flow = Flow()
    await flow.begin()
    by_id = await get_rollout(GetRollout(rollout_id="r1"), flow.bench.at)
    assert by_id == await get_rollout(GetRollout(rollout_id="triage"), flow.bench.at)
    assert (by_id["share"], by_id["state"]) == (0.1, "running")
    listed = (await list_rollouts(ListRollouts(open_only=True), flow.bench.at))["rollouts"]
    assert [row["rollout_id"] for row in listed] == ["r1"]
    shown = await get_pipeline(GetPipeline(pipeline="triage@canary"), flow.bench.at)
    assert shown["canary"] == flow.canary


async def test_a_freeze_holds_a_rollout_until_it_ends_and_takes_back_what_it_meant_to_do() -> None:
    flow = Flow()
    await flow.begin()
    freeze = FreezeSystem(freeze_id="f1", reason="incident", author="grace")
    await freeze_system(freeze, flow.bench.at)
    await flow.ran("canary", 5)
    await flow.ran("control", 5)
    await flow.pass_minutes(2)
    record = await flow.record()
    assert (record.step, record.held, record.intent) == (0, "frozen", None)
    (refused,) = await flow.control("complete_now")
    assert isinstance(refused, RolloutRefused)
    await flow.bench.at.rollouts.save(record.intending("step", "meant before the freeze", record.created_at))
    await flow.pass_minutes(1)
    assert (await flow.record()).step == 0
    await flow.ran("control", 30)
    await flow.ran("canary", 30, status="failed")
    assert (await flow.record()).state == "rolled_back"


async def test_after_a_freeze_the_rollout_goes_on() -> None:
    flow = Flow()
    await flow.begin()
    await freeze_system(FreezeSystem(freeze_id="f1", reason="incident", author="grace"), flow.bench.at)
    await flow.ran("canary", 5)
    await flow.ran("control", 5)
    await flow.pass_minutes(2)
    await unfreeze_system(UnfreezeSystem(unfreeze_id="u1", freeze_id="f1", reason="over", author="grace"), flow.bench.at)
    await flow.pass_minutes(1)
    assert (await flow.record()).step == 1


async def test_what_was_let_in_beside_the_stable_revision_does_not_replace_it_past_the_rules() -> None:
    flow = Flow()
    await flow.bench.propose(pipeline())
    steps = [
        {"name": "note", "type": "set_variable", "variables": {"topic": "{{ text }}"}},
        {"name": "classify", "type": "claude", "prompt": "Say the tone of: {{ text }}"},
    ]
    (aside,) = await flow.bench.propose(pipeline(steps=steps), "c2", deploy=False)
    flow.canary = str(getattr(aside, "digest"))  # noqa: B009  a union of facts
    (refused,) = await flow.start()
    assert isinstance(refused, RolloutRefused) and "propose it with `deploy: true` and a `rollout`" in refused.reason
    assert await flow.bench.at.rollouts.get("r1") is None


async def test_a_policy_of_today_keeps_a_former_revision_from_being_rolled_out() -> None:
    flow = Flow()
    await flow.bench.propose(pipeline())
    (approved,) = await flow.bench.propose(BETTER, "c2", deploy=False)
    flow.canary = str(getattr(approved, "digest"))  # noqa: B009  a union of facts
    content = {**shipped_policy().content, "version": 3}
    content["rules"] = [{"id": "closed", "effect": "veto", "when": "true", "reason": "closed"}]
    strict = flow.bench.with_policy(Policy.parse(content, "strict"))
    command = StartRollout.model_validate({"rollout_id": "r1", "pipeline": "triage", "digest": flow.canary, "author": "ada"})
    (refused,) = facts(await start_rollout(command, strict.at))
    assert isinstance(refused, RolloutRefused) and "closed" in refused.reason


async def test_a_rollout_that_a_quarantine_ends_says_so() -> None:
    flow = Flow()
    await flow.begin()
    command = QuarantineRevision(quarantine_id="q1", pipeline="triage", digest=flow.canary, reason="bad", author="grace")
    await quarantine_revision(command, flow.bench.at)
    await advance_all(flow.bench.at)
    (aborted,) = flow.said(RolloutAborted)
    assert aborted.reason == "the revision is quarantined"


async def test_a_change_that_is_called_like_a_step_of_a_rollout_does_not_keep_the_canary_from_serving() -> None:
    flow = Flow()
    await flow.bench.propose(pipeline(), "r1:0")
    await flow.begin()
    deployment = await flow.deployment()
    assert (deployment.canary, (await flow.record()).state) == (flow.canary, "running")


async def test_a_step_that_an_older_version_did_before_it_ended_is_not_done_again() -> None:
    flow = Flow()
    await flow.begin()
    at, before = flow.bench.at, await flow.deployment()
    record = await flow.record()
    cut = record.intending("step", "cut off", before.updated_at)
    assert cut.intent is not None
    as_before = cut.model_copy(update={"intent": cut.intent.model_copy(update={"cause": ""})})
    await at.rollouts.save(as_before)
    done = moved(before, f"r1:{cut.moves}", before.updated_at, **served(record, record.plan.steps[1]))
    assert await at.deployments.swap(done, from_generation=before.generation)
    await advance_all(at)
    assert ((await flow.record()).step, (await flow.deployment()).generation) == (1, done.generation)
