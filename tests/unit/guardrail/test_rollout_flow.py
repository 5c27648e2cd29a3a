"""A rollout from its start to its end, in memory: every transition, counted once, whatever crashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from services.guardrail.domain.policy import Policy
from services.guardrail.domain.records import Deployment
from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.ports import LostRaceError
from services.guardrail.use_cases.freezing import freeze_system, unfreeze_system
from services.guardrail.use_cases.quarantine import quarantine_revision
from services.guardrail.use_cases.queries import get_pipeline
from services.guardrail.use_cases.rollbacks import roll_back
from services.guardrail.use_cases.rollouts.advancing import advance, advance_all
from services.guardrail.use_cases.rollouts.controlling import control_rollout
from services.guardrail.use_cases.rollouts.observing import Pace, observe_run, report_outcome
from services.guardrail.use_cases.rollouts.queries import get_rollout, list_rollouts
from services.guardrail.use_cases.rollouts.starting import start_rollout
from shared.events.changes import ChangeVetoed, GetPipeline, PipelineDeployed, PipelineRolledBack, RollbackPipeline
from shared.events.message import Message
from shared.events.recovery import FreezeSystem, QuarantineRevision, UnfreezeSystem
from shared.events.rollouts import (
    ControlRollout,
    GetRollout,
    ListRollouts,
    ReportOutcome,
    RolloutAborted,
    RolloutCompleted,
    RolloutControlled,
    RolloutHeld,
    RolloutPaused,
    RolloutPlan,
    RolloutRefused,
    RolloutResumed,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStep,
    RolloutStepped,
    StartRollout,
)
from shared.events.runs import RunFinished, ShadowOrigin
from tests.fakes.guardrail import Bench, bench, facts, pipeline, shipped_policy

HALF = RolloutPlan(
    steps=(RolloutStep(share=0.1, minutes=1, sample=5), RolloutStep(share=0.5, minutes=1, sample=5), RolloutStep(share=1.0)),
    watch_runs=20,
)
BETTER = pipeline("Say the tone of: {{ text }}")


class Flow:
    """A pipeline with a stable revision and an approved one beside it."""

    def __init__(self) -> None:
        self.bench = bench()
        self.pace = Pace(self.bench.at)
        self.stable, self.canary, self.runs = "", "", 0

    async def begin(self, plan: RolloutPlan = HALF, **fields: Any) -> RolloutRecord:
        await self.bench.propose(pipeline())
        self.stable = (await self.deployment()).stable
        (approved,) = await self.bench.propose(BETTER, "c2", deploy=False)
        self.canary = str(getattr(approved, "digest"))  # noqa: B009  a union of facts
        assert is_done(await self.start(plan, **fields))
        return await self.record()

    async def start(self, plan: RolloutPlan | None = HALF, **fields: Any) -> list[Message]:
        given = {"rollout_id": "r1", "pipeline": "triage", "digest": self.canary[:12], "plan": plan, "author": "ada", **fields}
        return facts(await start_rollout(StartRollout.model_validate(given), self.bench.at))

    async def control(self, verb: str, author: str = "grace", reason: str = "because") -> list[Message]:
        command = ControlRollout.model_validate({"rollout_id": "r1", "verb": verb, "author": author, "reason": reason})
        return facts(await control_rollout(command, self.bench.at))

    async def record(self) -> RolloutRecord:
        found = await self.bench.at.rollouts.get("r1")
        assert found is not None
        return found

    async def deployment(self) -> Deployment:
        found = await self.bench.at.deployments.get("triage")
        assert found is not None
        return found

    async def ran(self, arm: str, count: int = 1, status: str = "succeeded", **fields: Any) -> None:
        for _ in range(count):
            self.runs += 1
            await self.ended(f"run-{self.runs}", arm, status, **fields)

    async def ended(self, run_id: str, arm: str, status: str = "succeeded", **fields: Any) -> None:
        await observe_run(run(run_id, arm, status, **fields), self.pace)

    async def pass_minutes(self, minutes: float) -> None:
        self.bench.clock.pass_seconds(minutes * 60)
        await advance_all(self.bench.at)

    def said(self, kind: type[Message]) -> list[Any]:
        return [fact for fact in self.bench.announcer.said.values() if isinstance(fact, kind)]

    def order(self) -> list[str]:
        return [type(fact).__name__ for fact in self.bench.announcer.said.values()]


def is_done(told: list[Message]) -> bool:
    return [type(fact) for fact in told] == [RolloutControlled]


def run(run_id: str, arm: str, status: str = "succeeded", **fields: Any) -> RunFinished:
    given = {
        "run_id": run_id,
        "pipeline": "triage",
        "digest": "d" * 64,
        "domain": "support",
        "purpose": "production",
        "status": status,
        "latency_seconds": 1.0,
        "arm": arm,
        "rollout_id": "r1",
        "finished_at": f"2026-11-22T12:00:00.{abs(hash(run_id)) % 1000:03d}",
        **fields,
    }
    return RunFinished.model_validate(given)


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


async def test_a_report_before_the_runs_end_counts_once_and_the_first_one_only() -> None:
    flow = Flow()
    await flow.begin()
    for score in (0.25, 0.75):
        (fact,) = facts(await report_outcome(ReportOutcome(run_id="a", score=score), flow.pace))
        assert getattr(fact, "score") == 0.25  # noqa: B009
    await flow.ended("a", "canary")
    await report_outcome(ReportOutcome(run_id="a", score=0.5), flow.pace)
    assert (await flow.record()).evidence.quality.waiting == (0.25,)


async def test_a_run_counts_once_however_often_and_wherever_it_is_told() -> None:
    flow = Flow()
    await flow.begin()
    other = Pace(flow.bench.at)
    for pace in (flow.pace, other, flow.pace):
        for number in range(6):
            await observe_run(run(f"same-{number}", "canary"), pace)
    assert (await flow.record()).evidence.canary.runs == 6


@pytest.mark.parametrize(
    "fields", [{"status": "cancelled"}, {"replayed": True}, {"retries": 1}, {"purpose": "trial"}, {"arm": ""}, {"rollout_id": None}]
)
async def test_what_says_nothing_about_a_revision_is_not_counted(fields: dict[str, Any]) -> None:
    flow = Flow()
    await flow.begin()
    await observe_run(run("odd", "canary").model_copy(update=fields), flow.pace)
    assert (await flow.record()).evidence.canary.runs == 0


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


class CrashError(Exception):
    """Where the process ends."""


async def ends_alike(crash_after: int) -> tuple[Sequence[str], dict[str, Any]] | None:
    """The facts and the end of a rollout whose process dies at its n-th write or message; None where it never gets there."""
    flow = Flow()
    await flow.begin(HALF.model_copy(update={"watch_runs": 0}))
    crashing = _Crashing(flow.bench, crash_after)
    for number in range(8):
        for arm, status in (("control", "succeeded"), ("canary", "failed")):
            try:
                await flow.ended(f"{arm}-{number}", arm, status)
            except CrashError:
                flow.pace = Pace(flow.bench.at)
                await flow.ended(f"{arm}-{number}", arm, status)
    crashing.left = 0
    await advance("r1", flow.bench.at)
    record = await flow.record()
    facts_told = [type(fact).__name__ for fact in flow.bench.announcer.said.values()]
    kept = record.model_dump(mode="json", include={"state", "quarantined", "facts", "moves", "closed"})
    counted = {"runs": record.evidence.canary.runs, "stable": (await flow.deployment()).stable == flow.stable}
    return (facts_told, {**kept, **counted}) if crashing.has_crashed or crash_after == 0 else None


class _Crashing:
    """Raises before the n-th call of what changes something, once."""

    def __init__(self, on: Bench, crash_after: int) -> None:
        self.left, self.has_crashed = crash_after, False
        written: tuple[tuple[Any, tuple[str, ...]], ...] = (
            (on.at.rollouts, ("save", "mark", "note")),
            (on.at.deployments, ("swap",)),
            (on.at.announcer, ("announce",)),
            (on.at.revisions, ("quarantine",)),
        )
        for port, names in written:
            for name in names:
                setattr(port, name, self._counted(getattr(port, name)))

    def _counted(self, call: Any) -> Any:
        async def counted(*given: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.has_crashed = True
                raise CrashError
            return await call(*given, **named)

        return counted


async def test_a_crash_before_any_write_changes_neither_the_end_nor_the_facts() -> None:
    undisturbed = await ends_alike(0)
    assert undisturbed is not None
    assert undisturbed[1]["state"] == "rolled_back"
    tried = 0
    for crash_after in range(1, 200):
        disturbed = await ends_alike(crash_after)
        if disturbed is None:
            break
        tried += 1
        assert disturbed == undisturbed, f"crash before write {crash_after}"
    assert tried > 20


async def test_a_lost_race_is_tried_again_and_counts_nothing_twice() -> None:
    flow = Flow()
    await flow.begin()
    save, lost = flow.bench.at.rollouts.save, [3]

    async def losing(record: RolloutRecord) -> RolloutRecord:
        if lost[0]:
            lost[0] -= 1
            raise LostRaceError("another process was faster")
        return await save(record)

    flow.bench.at.rollouts.save = losing  # type: ignore[method-assign]
    await flow.ran("canary", 4)
    assert lost == [0]
    assert (await flow.record()).evidence.canary.runs == 4


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
