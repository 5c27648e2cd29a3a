"""What the guardrail says to what a search proposed, in whatever order it is heard."""

from __future__ import annotations

from typing import Any

import pytest

from services.evolution.use_cases import read_evolution, record_gate, record_verdict
from shared.errors import NotFoundError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished, ProposeChange
from shared.events.improvement import EvolutionFinished, GetEvolution
from shared.events.values import Attestation, Score
from tests.fakes.evolution_world import small_world
from tests.unit.evolution.test_evolving import proposed

SCORE = Score(mean=0.7, low=0.6, high=0.8, cases=100, grader_hash="h")
ATTESTATION = Attestation(
    kind="revision", digest="0" * 64, scope="tweets", domain="social", policy_revision="1", issued_at="", expires_at="", key_id="k"
)


def gate(change: ProposeChange, verdict: str = "certified") -> GateFinished:
    return GateFinished.model_validate(
        {
            "change_id": change.change_id,
            "pipeline": "tweets",
            "candidate_digest": "c",
            "incumbent_digest": "i",
            "verdict": verdict,
            "candidate": SCORE,
            "incumbent": SCORE,
            "p_value": 0.01,
            "alpha": 0.05,
            "gain": 0.1,
            "gain_low": 0.02,
            "gain_high": 0.18,
            "claim": 0.07 if verdict == "certified" else None,
        }
    )


def verdict_fields(change: ProposeChange) -> dict[str, Any]:
    return {
        "change_id": change.change_id,
        "kind": "promotion",
        "pipeline": "tweets",
        "digest": "c",
        "author": "evolution",
        "reasons": ("r",),
    }


def approval(change: ProposeChange) -> ChangeApproved:
    return ChangeApproved(
        **verdict_fields(change),
        document={},
        domain="social",
        approved_by="policy:certified",
        risk=0.1,
        policy_revision="1",
        attestation=ATTESTATION,
    )


def veto(change: ProposeChange, by: str = "gate") -> ChangeVetoed:
    return ChangeVetoed(**verdict_fields(change), vetoed_by=by)


async def test_an_approved_change_ends_the_evolution_with_the_gates_gain() -> None:
    world = small_world()
    change = await proposed(world)
    assert await record_gate(gate(change), world.evolution) == []
    ((effect, answer),) = await record_verdict(approval(change), world.evolution)
    assert effect == "finished:approved" and isinstance(answer, EvolutionFinished)
    assert (answer.verdict, answer.deployed, answer.gain, answer.gain_low, answer.claim) == ("certified", True, 0.1, 0.02, 0.07)
    assert answer.lineage and answer.change_id == change.change_id
    assert await record_verdict(approval(change), world.evolution) == [(effect, answer)], "a redelivery says the same again"


async def test_what_a_rollout_brings_in_is_not_called_deployed() -> None:
    """Policy may ask for a rollout that the search did not ask for."""
    world = small_world()
    change = await proposed(world)
    await record_gate(gate(change), world.evolution)
    world.custodian.rollouts[change.change_id] = "rollout-7"
    ((_, answer),) = await record_verdict(approval(change), world.evolution)
    assert isinstance(answer, EvolutionFinished)
    assert (answer.verdict, answer.deployed, answer.rollout_id) == ("certified", False, "rollout-7")


async def test_a_veto_that_overtakes_the_gates_fact_still_knows_the_gate() -> None:
    world = small_world()
    change = await proposed(world)
    world.custodian.gates[change.change_id] = gate(change, "rejected").model_dump(mode="json")
    ((_, answer),) = await record_verdict(veto(change), world.evolution)
    assert isinstance(answer, EvolutionFinished)
    assert (answer.verdict, answer.deployed, answer.gain, answer.claim) == ("rejected", False, 0.1, None)


async def test_a_veto_before_any_gate_claims_no_gain() -> None:
    world = small_world()
    change = await proposed(world)
    ((_, answer),) = await record_verdict(veto(change), world.evolution)
    assert isinstance(answer, EvolutionFinished)
    assert (answer.verdict, answer.vetoed_by, answer.gate_verdict, answer.gain) == ("vetoed", "gate", "", None)
    assert any("sealed" in reason for reason in answer.reasons)


async def test_what_somebody_else_stopped_is_not_told_in_the_words_of_the_gate() -> None:
    for found, who in (("certified", "review:bob"), ("canary", "policy:night"), ("canary", "gate")):
        world = small_world()
        change = await proposed(world)
        await record_gate(gate(change, found), world.evolution)
        ((_, answer),) = await record_verdict(veto(change, who), world.evolution)
        assert isinstance(answer, EvolutionFinished) and not answer.deployed
        assert (answer.verdict, answer.vetoed_by, answer.gate_verdict) == ("vetoed", who, found)


async def test_people_decide_later_and_a_late_queued_fact_changes_nothing() -> None:
    world = small_world()
    change = await proposed(world)
    queued = ChangeQueued(**verdict_fields(change), risk=0.8)
    await record_gate(gate(change, "canary"), world.evolution)
    ((_, first),) = await record_verdict(queued, world.evolution)
    ((_, second),) = await record_verdict(approval(change), world.evolution)
    assert isinstance(first, EvolutionFinished) and isinstance(second, EvolutionFinished)
    assert (first.verdict, first.deployed) == ("queued", False)
    assert (second.verdict, second.deployed) == ("canary", True)
    assert await record_verdict(queued, world.evolution) == []


async def test_changes_of_others_are_none_of_our_business() -> None:
    world = small_world()
    change = (await proposed(world)).model_copy(update={"change_id": "somebody-elses"})
    assert await record_gate(gate(change), world.evolution) == []
    assert await record_verdict(veto(change), world.evolution) == []


async def test_the_record_can_be_asked_for() -> None:
    world = small_world()
    await proposed(world)
    answer = await read_evolution(GetEvolution(evolution_id="evo-1"), world.evolution)
    assert answer["status"] == "proposed"
    assert answer["candidates"][0]["operator"] == "seed"
    assert all("document" not in row for row in answer["candidates"])
    with pytest.raises(NotFoundError):
        await read_evolution(GetEvolution(evolution_id="nobody"), world.evolution)
