"""Other objectives than quality, steps of other pipelines, faults on purpose: what a search is told to look at beside it."""

from __future__ import annotations

import pytest

from services.evolution.use_cases import forget, read_evolution, record_gate, record_verdict, start_evolution
from shared.events.changes import ProposeChange
from shared.events.improvement import EvolutionFinished, GetEvolution
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.trade_offs import TradeOffs
from shared.events.values import Usage
from shared.pipeline.loading import load_document
from tests.fakes.evolution_world import donor_document, finished, seed_document, small_world
from tests.unit.evolution.test_evolving import archive_digest, command, ended, proposed
from tests.unit.evolution.test_search_verdicts import approval, gate


async def test_front_and_menu_are_kept_and_told_with_their_objectives() -> None:
    def answers(order: ExecuteRun) -> RunFinished:
        run = world.runs._answer(order)
        size = len(str((order.document or {})["steps"]))
        return run.model_copy(update={"usage": Usage(calls=1, input_tokens=size, output_tokens=5), "latency_seconds": size / 1000})

    world = small_world()
    world.runs.answers = answers
    change = await proposed(world)
    record = await read_evolution(GetEvolution(evolution_id="evo-1"), world.evolution)
    told = TradeOffs.model_validate(record["trade_offs"])
    assert told.compared == ("quality", "cost", "latency")
    assert change.parent_digest in {member.digest for member in told.front}, (
        "nothing shorter than the seed was found: it is cheapest"
    )
    units = [one.unit for one in told.front[0].objectives]
    assert units == ["grade", "tokens a run", "seconds a run"]
    assert all(row["use"]["tokens"] > 0 and row["niche"] for row in record["candidates"] if row["cases"])
    await record_gate(gate(change), world.evolution)
    ((_, answer),) = await record_verdict(approval(change), world.evolution)
    assert isinstance(answer, EvolutionFinished) and answer.trade_offs == told


async def test_a_weight_on_cost_chooses_a_cheaper_finalist() -> None:
    def answers(order: ExecuteRun) -> RunFinished:
        run = world.runs._answer(order)
        return run.model_copy(update={"usage": Usage(calls=1, input_tokens=len(str((order.document or {})["steps"])))})

    sizes = []
    for weights in ({}, {"cost": 1.0}):
        world = small_world()
        world.runs.answers = answers
        ((_, message),) = await start_evolution(command(weights=weights), world.evolution)
        assert isinstance(message, ProposeChange | EvolutionFinished)
        sizes.append(len(str(message.document["steps"])) if isinstance(message, ProposeChange) else 0)
    assert sizes[1] < sizes[0]


async def test_steps_of_another_pipeline_are_borrowed_as_they_were_when_the_search_began() -> None:
    whole = small_world()
    whole.custodian.documents["triage"] = donor_document()
    uninterrupted = await archive_digest(whole, seed=4, borrow_from=("triage",))
    world = small_world(crash_after=60)
    world.custodian.documents["triage"] = donor_document()
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(command(seed=4, borrow_from=("triage",)), world.evolution)
    world.custodian.documents["triage"] = seed_document(name="triage")
    assert await archive_digest(world, seed=4, borrow_from=("triage",)) == uninterrupted
    record = await read_evolution(GetEvolution(evolution_id="evo-1"), world.evolution)
    transferred = [row for row in record["candidates"] if row["operator"] == "transfer"]
    assert transferred and all(row["changes"] for row in transferred) and "borrowed" not in record


async def test_a_pipeline_that_cannot_be_borrowed_from_is_refused() -> None:
    answer = await ended(small_world(), borrow_from=("nobody",))
    assert answer.verdict == "refused" and "nobody" in str(answer.problems[0])


async def test_a_search_that_borrowed_from_what_was_taken_back_ends() -> None:
    world = small_world()
    world.custodian.documents["triage"] = donor_document()
    await forget([load_document(donor_document()).digest], world.evolution)
    answer = await ended(world, borrow_from=("triage",))
    assert answer.verdict == "refused" and "taken back" in str(answer.problems[0])


async def test_finalists_are_tried_with_faults_within_the_budget_and_the_front_shows_it() -> None:
    def answers(order: ExecuteRun) -> RunFinished:
        if order.faults is None:
            return world.runs._answer(order)
        robust = any(step["type"] != "claude" for step in (order.document or {})["steps"])
        return world.runs._answer(order) if robust else finished(order, "failed", None, error="a fault of this trial")

    world = small_world()
    world.runs.answers = answers
    await start_evolution(command(fault_cases=5), world.evolution)
    evaluations = [run for run in world.runs.started if world.runs.ended[run].purpose == "evaluation"]
    assert len(evaluations) == len(set(evaluations)) <= 200
    record = await read_evolution(GetEvolution(evolution_id="evo-1"), world.evolution)
    told = TradeOffs.model_validate(record["trade_offs"])
    shares = {one.value for member in told.front for one in member.objectives if one.name == "robustness"}
    assert shares <= {0.0, 1.0} and shares
    assert any(note.startswith("robustness is known of") for note in told.notes)


async def test_a_weight_on_robustness_that_nobody_measures_is_refused() -> None:
    answer = await ended(small_world(), weights={"robustness": 0.2})
    assert answer.verdict == "refused" and "fault_cases" in str(answer.problems[0])
