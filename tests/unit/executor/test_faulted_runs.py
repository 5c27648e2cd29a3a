"""Faults on purpose: only in evaluations under a scope, before the provider is asked, and nobody else is blamed for them."""

from __future__ import annotations

from typing import Any

import pytest

from services.analytics.adapters.mongo import MongoAggregateStore
from services.analytics.use_cases import Analytics, Pace, count_run
from shared.clock import SystemClock
from shared.events.runs import ExecuteRun, FaultPlan
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import Blocking, command, end_of, hung_run, second
from tests.fakes.storage import InMemoryDatabase

ALWAYS = FaultPlan(share=1.0)


def asking(kind: str = "claude", **step: Any) -> dict[str, Any]:
    return {"name": "faulted", "steps": [{"name": "one", "type": kind, "prompt": "Say one.", **step}]}


async def test_a_call_that_fails_on_purpose_never_reaches_the_provider_and_the_run_says_so() -> None:
    kit = ExecutorKit(model=(model := ScriptedModel()))
    run = await kit.trial(asking(retry={"max_attempts": 1}), purpose="evaluation", faults=ALWAYS)
    assert (run.status, run.error_code, run.faulted) == ("failed", "provider", True)
    assert "a fault of this trial" in run.error and model.requests == []
    assert run.usage.input_tokens == 0


async def attempts_of(prompt: str, case: str) -> int:
    step = asking(prompt=prompt, retry={"max_attempts": 9, "initial_seconds": 0.0})
    run = await ExecutorKit().trial(step, purpose="evaluation", faults=FaultPlan(share=0.5), case_id=case, seed=4)
    assert run.status == "succeeded"
    return run.steps[0].attempts


async def test_a_step_that_tries_again_survives_and_the_same_case_meets_the_same_faults() -> None:
    cases = [f"case-{number}" for number in range(8)]
    one = [await attempts_of("Say one.", case) for case in cases]
    other = [await attempts_of("Say one, please.", case) for case in cases]
    assert one == other
    assert len(set(one)) > 1, "cases meet different faults"


MANY_STEPS = {
    "name": "faulted",
    "steps": [
        {"name": f"s{number}", "type": "claude", "prompt": "Say one.", "retry": {"max_attempts": 9, "initial_seconds": 0.0}}
        for number in range(8)
    ],
}


@pytest.mark.parametrize("answered", [1, 3, 6])
async def test_whoever_takes_a_run_over_meets_the_faults_that_the_first_owner_would_have_met(answered: int) -> None:
    plan: dict[str, Any] = {"purpose": "evaluation", "faults": FaultPlan(share=0.5), "case_id": "case-1", "seed": 4}
    whole = await ExecutorKit().trial(MANY_STEPS, **plan)
    lost = ExecutorKit(model=Blocking(free=answered))
    order = command(lost, document=MANY_STEPS, **plan)
    hanging = await hung_run(lost, order)
    heir = second(lost, ScriptedModel())
    run = await heir.execute(order, sequence=7, attempt=2)
    await end_of(hanging)
    assert (run.status, run.resumed) == ("succeeded", 1)
    assert [step.attempts for step in run.steps] == [step.attempts for step in whole.steps]
    assert len({step.attempts for step in whole.steps}) > 1, "steps meet different faults"


async def nested_attempts(prompt: str) -> list[int]:
    child = {**asking(prompt=prompt, retry={"max_attempts": 9, "initial_seconds": 0.0}), "name": "child"}
    steps = [{"name": f"nest_{number}", "type": "pipeline", "pipeline": child} for number in range(8)]
    kit = ExecutorKit(slots=1)
    source = {"name": "parent", "steps": steps}
    run = await kit.trial(source, purpose="evaluation", faults=FaultPlan(share=0.5), case_id="case-1", seed=4)
    assert run.status == "succeeded"
    *inner, _ = kit.ends()
    return [each.steps[0].attempts for each in inner]


async def test_nested_runs_beside_each_other_do_not_all_meet_the_same_faults_but_every_candidate_meets_them() -> None:
    found = await nested_attempts("Say one.")
    assert len(found) == 8 and len(set(found)) > 1
    assert await nested_attempts("Say one, please.") == found


@pytest.mark.parametrize("purpose", ["trial", "gate", "measure"])
async def test_no_other_run_fails_on_purpose(purpose: str) -> None:
    kit = ExecutorKit()
    run = await kit.trial(asking(), purpose=purpose, faults=ALWAYS)
    assert (run.status, run.error_code) == ("refused", "invalid_input") and "faults" in run.error


async def test_production_never_fails_on_purpose() -> None:
    kit = ExecutorKit()
    digest = await kit.notary.deploy(kit.database, asking())
    run = await kit.execute(ExecuteRun(run_id="r1", pipeline=f"faulted@{digest}", faults=ALWAYS))
    assert (run.status, run.error_code) == ("refused", "invalid_input")


async def test_the_breaker_that_other_runs_share_does_not_hear_of_them() -> None:
    kit = ExecutorKit(model=ScriptedModel())
    step = asking("claude_robust", retry={"max_attempts": 1, "initial_seconds": 0.0})
    for number in range(12):
        await kit.trial(step, purpose="evaluation", faults=ALWAYS, run_id=f"faulted-{number}")
    run = await kit.trial(step, run_id="calm")
    assert run.status == "succeeded" and not run.faulted


async def test_analytics_counts_no_run_that_failed_on_purpose() -> None:
    analytics = Analytics(MongoAggregateStore(InMemoryDatabase()), SystemClock(), Pace(0.0))
    run = await ExecutorKit().trial(asking(), purpose="evaluation", faults=FaultPlan(share=0.01))
    assert run.status == "succeeded" and run.faulted
    assert await count_run(run, analytics) == []
    assert await count_run(run.model_copy(update={"faulted": False}), analytics) != []
