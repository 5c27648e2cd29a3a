"""When policy asks for a rollout, and what holds or moves one: the pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from services.guardrail.adapters.files import DEFAULT_POLICY
from services.guardrail.domain.policy import Policy
from services.guardrail.domain.records import Deployment
from services.guardrail.domain.rollout import RolloutRecord, counted, new_rollout
from services.guardrail.domain.rollout_decisions import decided, may_advance, stepped
from services.guardrail.domain.rollout_evidence import MOST_WAITING, Observation, observed, start_evidence
from shared.errors import ConfigurationError
from shared.events.rollouts import DEFAULT_STEPS, RolloutPlan, RolloutStep
from tests.fakes.guardrail import Bench, answering, bench, pipeline

START = datetime(2026, 11, 22, tzinfo=UTC)
PLAN = RolloutPlan(steps=(RolloutStep(share=0.5, minutes=1, sample=2), RolloutStep(share=1.0)))


def policy(**sections: Any) -> Policy:
    content = yaml.safe_load(DEFAULT_POLICY.read_text())
    return Policy.parse({**content, **{name: {**content.get(name, {}), **fields} for name, fields in sections.items()}}, "test")


async def replaced(kit: Bench) -> Deployment:
    await kit.propose(pipeline())
    await kit.propose(pipeline("Say the tone of: {{ text }}"), "c2")
    found = await kit.at.deployments.get("triage")
    assert found is not None
    return found


@pytest.mark.parametrize("when", ["change.replaces", "int(change.author) == 1"])
async def test_what_policy_wants_rolled_out_or_cannot_judge_is_rolled_out(when: str) -> None:
    serving = await replaced(bench(policy=policy(rollout={"when": when})))
    assert serving.rollout is not None
    assert serving.canary != serving.stable


async def test_the_shipped_policy_replaces_at_once() -> None:
    serving = await replaced(bench())
    assert (serving.rollout, serving.canary, len(serving.previous)) == (None, None, 1)


def test_a_policy_whose_condition_does_not_parse_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="rollout-when"):
        policy(rollout={"when": "change ==="})


async def test_a_candidate_that_the_gate_left_undecided_may_prove_itself_online() -> None:
    kit = bench(policy=policy(gate={"on_undecided": "rollout"}))
    await kit.register()
    kit.fleet.answer = answering({"sentiment": 0.8, "tone": 0.8})
    await kit.propose(pipeline(), dataset_id="tweets")
    told = await kit.propose(
        pipeline("Say the tone of: {{ text }}"), "p1", kind="promotion", author="evolution", dataset_id="tweets"
    )
    assert [type(fact).__name__ for fact in told] == ["GateFinished", "ChangeApproved"]
    serving = await kit.at.deployments.get("triage")
    assert serving is not None
    assert serving.canary == getattr(told[1], "digest")  # noqa: B009


@pytest.mark.parametrize("shares", [(0.5, 0.25, 1.0), (0.1, 0.5), (0.1, 0.75, 1.0), (1.0,), (0.1, 0.1, 1.0)])
def test_a_plan_goes_up_leaves_a_control_and_ends_with_all(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        RolloutPlan(steps=tuple(RolloutStep(share=share) for share in shares))


def running(plan: RolloutPlan = PLAN) -> RolloutRecord:
    serving = Deployment(pipeline="p", domain="d", author="a", stable="s", updated_at="")
    return stepped(new_rollout(serving, "c", plan, START.isoformat(), rollout_id="r", author="a"), 0, START.isoformat())


def seen(canary: int, control: int, **fields: Any) -> list[Observation]:
    def one(arm: str, number: int) -> Observation:
        given = {"id": f"{arm}{number}", "rollout_id": "r", "run_id": f"{arm}{number}", "arm": arm, "value": 1.0, **fields}
        return Observation.model_validate(given)

    return [*(one("canary", number) for number in range(canary)), *(one("control", number) for number in range(control))]


LATER = START + timedelta(hours=1)


def test_a_frozen_system_holds_what_could_go_up_and_lets_it_go_on_afterwards() -> None:
    ready = counted(running(), seen(5, 5))
    wait = may_advance(ready, LATER, "incident 7")
    assert wait is not None
    assert (wait.kind, "incident 7" in wait.text) == ("frozen", True)
    held = decided(ready, LATER, "incident 7")
    assert (held.intent, held.held) == (None, "frozen")
    going = decided(held, LATER)
    assert going.intent is not None
    assert going.intent.kind == "complete"


def test_guards_act_in_a_frozen_system() -> None:
    broken = counted(running(), [*seen(0, 10), *seen(10, 0, value=0.0, is_hard=True)])
    intent = decided(broken, LATER, "incident 7").intent
    assert intent is not None
    assert intent.kind == "roll_back"


def test_a_margin_is_waited_for_until_it_is_shown() -> None:
    step = RolloutStep(share=0.5, minutes=0, sample=1, margin=0.1)
    record = counted(running(RolloutPlan(steps=(step, RolloutStep(share=1.0)))), seen(5, 5))
    assert decided(record, LATER).held == "undecided"
    shown = decided(counted(record, seen(100, 100)), LATER)
    assert shown.intent is not None


def test_a_dearer_canary_pauses() -> None:
    costs = [each.model_copy(update={"cost_usd": 0.01 + 0.001 * (n % 3)}) for n, each in enumerate(seen(0, 60))]
    dear = [each.model_copy(update={"cost_usd": 0.05 + 0.001 * (n % 3)}) for n, each in enumerate(seen(60, 0))]
    record = decided(counted(running(), costs + dear), LATER)
    assert record.state == "paused"
    assert "cost" in record.paused_for


def test_a_decision_that_is_not_carried_out_is_not_made_anew() -> None:
    record = decided(counted(running(), seen(5, 5)), LATER)
    assert decided(record, LATER + timedelta(days=1)) == record


def test_outcomes_that_wait_for_the_other_arm_are_bounded() -> None:
    evidence = observed(start_evidence(()), seen(MOST_WAITING + 50, 0))
    assert len(evidence.success.waiting) == MOST_WAITING
    assert evidence.canary.runs == MOST_WAITING + 50


def test_the_default_steps_are_those_of_the_documentation() -> None:
    assert [step.share for step in DEFAULT_STEPS] == [0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 1.0]
