"""What becomes of an experiment's winner: gate, people, rollout, in whatever order it is heard."""

from __future__ import annotations

from typing import Any

from services.evolution.domain.records import Decision
from services.evolution.use_cases.experiments import (
    list_experiments,
    record_gate,
    record_rollout,
    record_verdict,
    start_experiment,
)
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished
from shared.events.experiments import ExperimentFinished, ListExperiments
from shared.events.rollouts import RolloutAborted, RolloutCompleted, RolloutRolledBack
from shared.events.values import Attestation, Score
from tests.unit.evolution.test_experimenting import Lab, command, lab, proposed, variant

SCORE = Score(mean=0.7, low=0.6, high=0.8, cases=100, grader_hash="h")
ATTESTATION = Attestation(
    kind="revision", digest="0" * 64, scope="tweets", domain="social", policy_revision="1", issued_at="", expires_at="", key_id="k"
)


async def on_its_way() -> tuple[Lab, str]:
    on = lab()
    change = await proposed(on, command(variant("good", 95)))
    on.promotions.rollouts["rollout-1"] = change.change_id
    return on, change.change_id


def gate(change_id: str, verdict: str = "certified") -> GateFinished:
    fields = {"change_id": change_id, "pipeline": "tweets", "candidate_digest": "c", "incumbent_digest": "i", "verdict": verdict}
    numbers = {"p_value": 0.01, "alpha": 0.05, "gain": 0.2, "gain_low": 0.1, "gain_high": 0.3, "claim": 0.15}
    return GateFinished.model_validate({**fields, **numbers, "candidate": SCORE, "incumbent": SCORE})


def decision(kind: type[Decision], change_id: str, **fields: Any) -> Decision:
    common = {"change_id": change_id, "kind": "promotion", "pipeline": "tweets", "digest": "d", "author": "evolution", "risk": 0.1}
    more: dict[Any, dict[str, Any]] = {
        ChangeApproved: {
            "document": {},
            "domain": "social",
            "approved_by": "policy:x",
            "policy_revision": "1",
            "attestation": ATTESTATION,
        },
        ChangeVetoed: {"vetoed_by": "gate"},
        ChangeQueued: {},
    }
    return kind.model_validate({**common, "reasons": ["so it is"], **more[kind], **fields})


def rollout(kind: Any, **fields: Any) -> Any:
    return kind(rollout_id="rollout-1", pipeline="tweets", canary="d", stable="s", share=1.0, reason="all steps passed", **fields)


def told(effects: Any) -> ExperimentFinished:
    ((_, fact),) = effects
    assert isinstance(fact, ExperimentFinished)
    return fact


async def status(on: Lab) -> tuple[str, str]:
    ((row),) = (await list_experiments(ListExperiments(), on.at))["experiments"]
    return row["status"], row["outcome"]


async def test_a_certified_winner_without_a_rollout_is_deployed_with_the_gates_gain() -> None:
    on, change_id = await on_its_way()
    await record_gate(gate(change_id), on.at)
    fact = told(await record_verdict(decision(ChangeApproved, change_id), on.at))
    assert (fact.outcome, fact.winner, fact.deployed, fact.gain, fact.claim) == ("certified", "good", True, 0.2, 0.15)
    assert await status(on) == ("finished", "certified")
    assert told(await start_experiment(command(variant("good", 95)), on.at)) == fact


async def test_a_winner_that_the_gate_rejects_is_told_with_its_reasons() -> None:
    on, change_id = await on_its_way()
    on.promotions.changes[change_id] = {"gate": gate(change_id, "rejected").model_dump(mode="json")}
    fact = told(await record_verdict(decision(ChangeVetoed, change_id), on.at))
    assert (fact.outcome, fact.deployed, fact.gain) == ("rejected", False, 0.2)
    assert "so it is" in fact.reasons


async def test_a_winner_that_the_gate_did_not_reject_is_vetoed_by_whoever_stopped_it() -> None:
    for found, who in (("canary", "gate"), ("canary", "review:bob"), ("certified", "policy:night"), ("certified", "expiry")):
        on, change_id = await on_its_way()
        await record_gate(gate(change_id, found), on.at)
        fact = told(await record_verdict(decision(ChangeVetoed, change_id, vetoed_by=who), on.at))
        assert (fact.outcome, fact.vetoed_by, fact.gate_verdict, fact.deployed) == ("vetoed", who, found, False)
        assert "so it is" in fact.reasons and await status(on) == ("finished", "vetoed")


async def test_what_the_gate_never_measured_it_did_not_reject() -> None:
    on, change_id = await on_its_way()
    fact = told(await record_verdict(decision(ChangeVetoed, change_id), on.at))
    assert (fact.outcome, fact.vetoed_by, fact.gate_verdict) == ("vetoed", "gate", "")


async def test_a_rollout_is_followed_to_its_end() -> None:
    for kind, outcome, deployed in (
        (RolloutCompleted, "rolled_out", True),
        (RolloutRolledBack, "rolled_back", False),
        (RolloutAborted, "rollout_aborted", False),
    ):
        on, change_id = await on_its_way()
        on.promotions.changes[change_id] = {"rollout_id": "rollout-1"}
        await record_gate(gate(change_id), on.at)
        first = told(await record_verdict(decision(ChangeApproved, change_id), on.at))
        assert (first.outcome, first.rollout_id, first.deployed) == ("certified", "rollout-1", False)
        assert await status(on) == ("rolling_out", "certified")
        last = told(await record_rollout(rollout(kind), on.at))
        assert (last.outcome, last.deployed, last.gain) == (outcome, deployed, 0.2)
        assert await status(on) == ("finished", outcome)


async def test_what_was_rolled_out_and_then_taken_back_stays_taken_back_in_whatever_order_it_is_heard() -> None:
    for order in ((RolloutCompleted, RolloutRolledBack), (RolloutRolledBack, RolloutCompleted)):
        on, change_id = await on_its_way()
        await record_verdict(decision(ChangeApproved, change_id), on.at)
        for kind in order:
            await record_rollout(rollout(kind), on.at)
        assert await status(on) == ("finished", "rolled_back")


async def test_a_verdict_that_is_heard_after_the_rollouts_end_changes_nothing() -> None:
    on, change_id = await on_its_way()
    await record_rollout(rollout(RolloutCompleted), on.at)
    assert await record_verdict(decision(ChangeApproved, change_id), on.at) == []
    assert await status(on) == ("finished", "rolled_out")


async def test_people_decide_after_the_queue_and_a_late_queue_is_not_believed() -> None:
    on, change_id = await on_its_way()
    assert told(await record_verdict(decision(ChangeQueued, change_id), on.at)).outcome == "queued"
    assert told(await record_verdict(decision(ChangeVetoed, change_id, vetoed_by="bob"), on.at)).outcome == "vetoed"
    assert await record_verdict(decision(ChangeQueued, change_id), on.at) == []
    assert await status(on) == ("finished", "vetoed")


async def test_other_peoples_changes_and_rollouts_are_none_of_its_business() -> None:
    on, _ = await on_its_way()
    on.promotions.rollouts["rollout-1"] = "somebody's"
    assert await record_verdict(decision(ChangeVetoed, "somebody's"), on.at) == []
    assert await record_gate(gate("somebody's"), on.at) == []
    assert await record_rollout(rollout(RolloutCompleted), on.at) == []
    on.promotions.rollouts.clear()
    assert await record_rollout(rollout(RolloutCompleted), on.at) == []


async def test_the_same_fact_twice_tells_the_same() -> None:
    on, change_id = await on_its_way()
    first = await record_verdict(decision(ChangeApproved, change_id), on.at)
    assert await record_verdict(decision(ChangeApproved, change_id), on.at) == first
