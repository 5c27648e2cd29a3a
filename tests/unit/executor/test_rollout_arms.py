"""Which revision a run gets while its pipeline is rolled out, and which runs are repeated as a shadow."""

from __future__ import annotations

from typing import Any

import pytest

from services.executor.domain.shadow import START_WITHIN
from shared.events.runs import ExecuteRun, RunFinished, RunStarted, ShadowOrigin
from shared.evidence.assignment import assign_arm
from tests.fakes.executor import ExecutorKit

NEW = {"name": "greeting", "steps": [{"name": "greet", "type": "claude", "prompt": "Greet warmly."}]}
OLD = {"name": "greeting", "steps": [{"name": "greet", "type": "claude", "prompt": "Greet."}]}
WRITING = {
    "name": "greeting",
    "steps": [{"name": "greet", "type": "file_ops", "operation": "write", "path": "a.txt", "content": "hello"}],
}


class Rollout:
    def __init__(self) -> None:
        self.kit = ExecutorKit()
        self.stable, self.canary = "", ""

    async def begin(self, share: float, canary: dict[str, Any] = NEW, **rollout: Any) -> None:
        self.canary = await self.kit.notary.deploy(self.kit.guardrail, canary)
        self.stable = await self.kit.notary.deploy(self.kit.guardrail, OLD)
        await self.set(share, **rollout)

    async def set(self, share: float, *, shadow_share: float = 0.0, **fields: Any) -> None:
        served = {"rollout_id": "r1", "salt": "salt", "share": share, "shadow_share": shadow_share, "shadow_runs": 2}
        shadow = self.canary if shadow_share else None
        update = {"canary": self.canary, "shadow": shadow, "rollout": served, **fields}
        assert await self.kit.guardrail.collection("deployments").update_if({"_id": "greeting"}, {"$set": update})

    async def run(self, run_id: str, reference: str = "greeting", **fields: Any) -> RunFinished:
        return await self.kit.execute(ExecuteRun(run_id=run_id, pipeline=reference, **fields))


def digest_of(arm: str, rollout: Rollout) -> str:
    return rollout.canary if arm == "canary" else rollout.stable


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
async def test_a_bare_name_follows_the_rollout_and_the_run_tells_its_arm(share: float) -> None:
    rollout = Rollout()
    await rollout.begin(share)
    for number in range(30):
        run, arm = await rollout.run(f"run-{number}"), assign_arm("salt", f"run-{number}", share)
        assert (run.digest, run.arm, run.rollout_id) == (digest_of(arm, rollout), arm, "r1")
    starts = rollout.kit.announcer.of(RunStarted)
    assert [getattr(fact, "arm") for fact in starts] == [run.arm for run in rollout.kit.ends()]  # noqa: B009


async def test_a_run_tells_its_unit_so_that_runs_of_one_are_not_taken_for_many() -> None:
    rollout = Rollout()
    await rollout.begin(0.5)
    assert [(await rollout.run(f"run-{unit}", unit_id=unit)).unit_id for unit in ("ada", None)] == ["ada", None]


async def test_runs_of_one_unit_stay_in_its_arm() -> None:
    rollout = Rollout()
    await rollout.begin(0.5)
    for unit in ("ada", "grace", "mary", "joan"):
        arms = {(await rollout.run(f"{unit}-{number}", unit_id=unit)).arm for number in range(5)}
        assert arms == {assign_arm("salt", unit, 0.5)}


async def test_explicit_references_stay_explicit_and_belong_to_no_arm() -> None:
    rollout = Rollout()
    await rollout.begin(1.0)
    for reference, digest in (("greeting@stable", rollout.stable), ("greeting@canary", rollout.canary)):
        run = await rollout.run(reference.replace("@", "-"), reference)
        assert (run.digest, run.arm, run.rollout_id) == (digest, "", None)


async def test_a_redelivered_run_keeps_its_arm_when_the_rollout_moved_meanwhile() -> None:
    rollout = Rollout()
    await rollout.begin(1.0)
    first = await rollout.run("run-1")
    await rollout.set(0.0)
    again = await rollout.run("run-1")
    assert again == first
    assert again.arm == "canary"


async def test_a_run_that_another_executor_takes_over_keeps_its_arm() -> None:
    rollout = Rollout()
    await rollout.begin(1.0)
    await rollout.run("run-1")
    record = await rollout.kit.runs.get("run-1")
    assert record is not None
    assert (record.arm, record.rollout_id, record.digest) == ("canary", "r1", rollout.canary)


async def test_a_canary_that_was_just_quarantined_costs_nobody_a_run() -> None:
    rollout = Rollout()
    await rollout.begin(1.0)
    revisions = rollout.kit.guardrail.collection("revisions")
    assert await revisions.update_if({"_id": rollout.canary}, {"$set": {"status": "quarantined"}})
    run = await rollout.run("run-1")
    assert (run.status, run.digest, run.arm) == ("succeeded", rollout.stable, "")


async def test_a_chosen_production_run_is_repeated_once_with_the_same_inputs_after_it_was_told() -> None:
    rollout = Rollout()
    await rollout.begin(0.0, shadow_share=1.0)
    production = await rollout.run("run-1", seed=7, unit_id="ada")
    await rollout.run("run-1", seed=7, unit_id="ada")
    (shadow,) = rollout.kit.shadows.started.values()
    assert (shadow.purpose, shadow.pipeline, shadow.seed) == ("shadow", f"greeting@{rollout.canary}", 7)
    run = await rollout.kit.execute(shadow)
    assert (run.status, run.digest, run.arm, run.unit_id) == ("succeeded", rollout.canary, "", "ada")
    assert run.shadow_of is not None
    assert (run.shadow_of.run_id, run.shadow_of.status, run.shadow_of.rollout_id) == ("run-1", production.status, "r1")
    assert len(rollout.kit.shadows.started) == 1


async def test_the_budget_of_shadow_runs_is_never_overshot() -> None:
    rollout = Rollout()
    await rollout.begin(0.0, shadow_share=1.0)
    for number in range(4):
        await rollout.run(f"run-{number}")
    ends = [await rollout.kit.execute(shadow) for shadow in rollout.kit.shadows.started.values()]
    assert [run.status for run in ends] == ["succeeded", "succeeded", "refused", "refused"]
    assert {run.error_code for run in ends[2:]} == {"limit_reached:runs"}


async def test_a_shadow_never_does_effects_twice() -> None:
    rollout = Rollout()
    await rollout.begin(0.0, WRITING, shadow_share=1.0)
    await rollout.run("run-1")
    (shadow,) = rollout.kit.shadows.started.values()
    run = await rollout.kit.execute(shadow)
    assert (run.status, run.error_code) == ("refused", "out_of_scope")


async def test_nobody_tells_how_a_production_run_ended_but_the_run_itself() -> None:
    rollout = Rollout()
    await rollout.begin(0.0, shadow_share=1.0)
    await rollout.run("run-1")
    (shadow,) = rollout.kit.shadows.started.values()
    assert shadow.shadow_of is not None
    lies = (
        {"shadow_of": shadow.shadow_of.model_copy(update={"status": "failed"}), "run_id": "lie-1"},
        {"shadow_of": ShadowOrigin(run_id="unknown", rollout_id="r1", status="failed"), "run_id": "lie-2"},
        {"pipeline": f"greeting@{rollout.stable}"},
    )
    for lie in lies:
        run = await rollout.kit.execute(shadow.model_copy(update=lie))
        assert (run.status, run.error_code) == ("refused", "out_of_scope")


async def test_shadows_that_come_too_late_are_left_out() -> None:
    rollout = Rollout()
    await rollout.begin(0.0, shadow_share=1.0)
    await rollout.run("run-1")
    (shadow,) = rollout.kit.shadows.started.values()
    assert shadow.deadline_at is not None
    late = shadow.model_copy(update={"deadline_at": (rollout.kit.clock.now() - START_WITHIN).isoformat()})
    assert (await rollout.kit.execute(late)).error_code == "limit_reached:deadline"


async def test_trials_and_measurements_get_the_stable_revision() -> None:
    rollout = Rollout()
    await rollout.begin(1.0)
    for purpose in ("trial", "evaluation", "measure", "meta"):
        run = await rollout.run(f"run-{purpose}", purpose=purpose)
        assert (run.digest, run.arm) == (rollout.stable, "")
