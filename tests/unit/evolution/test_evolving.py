from __future__ import annotations

import importlib.util
from datetime import timedelta
from typing import Any

import pytest

from services.evolution.use_cases import forget, read_evolution, start_evolution
from shared.errors import InvalidInputError, UnavailableError
from shared.events.changes import ProposeChange
from shared.events.improvement import EvolutionFinished, EvolutionProgressed, GetEvolution, PipelineScored, StartEvolution
from shared.events.message import Message
from shared.events.quotas import CloseScope
from shared.events.values import Case
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document
from shared.search.genome import why_little_can_change
from tests.fakes.evolution_world import World, finished, labelled_cases, liked_features, seed_document, small_world


def command(**changes: Any) -> StartEvolution:
    fields = {
        "evolution_id": "evo-1",
        "pipeline": "tweets",
        "dataset_id": "tweets3",
        "evaluations": 200,
        "seed": 1,
        "strategy": "climb",
    }
    return StartEvolution.model_validate({**fields, **changes})


async def proposed(world: World, **changes: Any) -> ProposeChange:
    ((effect, message),) = await start_evolution(command(**changes), world.evolution)
    assert effect == "propose" and isinstance(message, ProposeChange)
    return message


async def ended(world: World, **changes: Any) -> EvolutionFinished:
    ((effect, message),) = await start_evolution(command(**changes), world.evolution)
    assert effect == "finished" and isinstance(message, EvolutionFinished)
    return message


@pytest.mark.parametrize("strategy", ["climb", "genetic"])
async def test_the_better_document_is_proposed_with_its_evidence(strategy: str) -> None:
    world = small_world()
    change = await proposed(world, strategy=strategy, population=12, generations=3)
    document = load_document(change.document)
    assert world.runs.quality(document) > world.runs.quality(load_document(seed_document()))
    assert change.kind == "promotion" and change.group_id == "evo-1" and change.author == "evolution"
    assert change.parent_digest == load_document(seed_document()).digest != document.digest
    (evidence,) = change.evidence
    assert evidence.score and evidence.baseline and evidence.score.mean > evidence.baseline.mean
    measured = {run for run in world.runs.started if world.runs.ended[run].purpose == "evaluation"}
    assert evidence.calls == len(measured) <= 200


async def test_where_no_step_asks_a_model_the_end_says_why_nothing_was_found() -> None:
    nearest = {"name": "classify", "type": "function", "function": "vote", "arguments": {"values": ["neutral", "neutral"]}}
    without = seed_document(steps=[nearest], outputs={"answer": "{{ steps.classify.result.winner }}"})
    told = await ended(small_world(document=without))
    assert told.verdict == "no_candidate" and any("asks a model" in reason for reason in told.reasons)
    assert why_little_can_change(without) and not why_little_can_change(seed_document())


async def test_a_search_that_ends_closes_its_scope_and_one_that_never_had_any_closes_none() -> None:
    for changes in ({}, {"dataset_id": "nothing"}):
        world = small_world()
        await start_evolution(command(**changes), world.evolution)
        closed = [each for each in world.announcer.facts.values() if isinstance(each, CloseScope)]
        assert [each.author for each in closed] == ([] if changes else ["evolution"])


async def test_a_scope_that_a_crash_kept_open_is_closed_when_the_order_comes_again() -> None:
    world = small_world(quality=lambda _: 1.0)  # nothing can be better, so that the search ends by itself
    await ended(world)
    closing = [key for key, fact in world.announcer.facts.items() if isinstance(fact, CloseScope)]
    for key in closing:
        del world.announcer.facts[key]  # killed after the answer was kept, before this was sent
    await ended(world)
    assert closing and [key for key, fact in world.announcer.facts.items() if isinstance(fact, CloseScope)] == closing


async def test_evaluations_stay_within_the_budget_and_none_runs_twice() -> None:
    for evaluations in (48, 100, 333):
        world = small_world()
        await start_evolution(command(evaluations=evaluations), world.evolution)
        runs = [run for run in world.runs.started if world.runs.ended[run].purpose == "evaluation"]
        assert len(runs) == len(set(runs)) <= evaluations


async def archive_digest(world: World, **changes: Any) -> str:
    await start_evolution(command(**changes), world.evolution)
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None
    return str(record["archive_digest"])


@pytest.mark.parametrize("strategy", ["climb", "genetic", "guided", "gepa", "best_of"])
async def test_one_and_four_workers_leave_the_same_archive(strategy: str) -> None:
    alone = await archive_digest(small_world(workers=1), strategy=strategy)
    together = await archive_digest(small_world(workers=4), strategy=strategy)
    other = await archive_digest(small_world(), strategy=strategy, seed=2)
    assert alone == together != other


@pytest.mark.parametrize("crash_after", [1, 7, 16, 17, 40, 77, 90, 120, 131, 150, 165])
async def test_a_search_killed_anywhere_resumes_to_the_same_archive_without_running_anything_twice(crash_after: int) -> None:
    whole = small_world()
    uninterrupted = await archive_digest(whole)
    world = small_world(crash_after=crash_after)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(command(), world.evolution)
    assert await archive_digest(world) == uninterrupted
    assert len(world.runs.started) == len(set(world.runs.started)) == len(whole.runs.started)


@pytest.mark.parametrize("strategy", ["genetic", "gepa", "best_of"])
@pytest.mark.parametrize("crash_after", [30, 130])
async def test_every_strategy_goes_on_to_the_same_archive_after_a_kill(strategy: str, crash_after: int) -> None:
    uninterrupted = await archive_digest(small_world(), strategy=strategy)
    world = small_world(crash_after=crash_after)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(command(strategy=strategy), world.evolution)
    assert await archive_digest(world, strategy=strategy) == uninterrupted
    assert len(world.runs.started) == len(set(world.runs.started))


@pytest.mark.parametrize("crash_after", [7, 131])
async def test_a_deployment_while_a_killed_search_lies_still_costs_nothing_and_is_told(crash_after: int) -> None:
    """It goes on against the revision with which it began; the sealed gate compares with what is stable then."""
    whole = small_world()
    uninterrupted, began_with = await archive_digest(whole), load_document(seed_document()).digest
    world = small_world(crash_after=crash_after)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(command(), world.evolution)
    world.custodian.documents["tweets"] = seed_document(description="Deployed by somebody else meanwhile.")
    ((_, change),) = await start_evolution(command(), world.evolution)
    assert isinstance(change, ProposeChange) and change.parent_digest == began_with
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None and record["archive_digest"] == uninterrupted
    assert len(world.runs.started) == len(set(world.runs.started)) == len(whole.runs.started)
    now = load_document(world.custodian.documents["tweets"]).digest
    (said,) = [reason for reason in record["pending"]["reasons"] if now[:12] in reason]
    assert "stable revision moved" in said and began_with[:12] in said and said in change.reason
    assert (await read_evolution(GetEvolution(evolution_id="evo-1"), world.evolution))["stable"] == began_with


async def test_a_search_whose_revision_was_taken_back_while_it_lay_still_measures_nothing_more() -> None:
    world = small_world(crash_after=40)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(command(), world.evolution)
    await forget((load_document(seed_document()).digest,), world.evolution)
    world.custodian.documents["tweets"] = seed_document(description="Deployed by somebody else meanwhile.")
    started = len(world.runs.started)
    answer = await ended(world)
    assert answer.verdict == "refused" and "taken back" in str(answer.problems[0])
    assert len(world.runs.started) == started


async def test_a_search_that_ends_where_nothing_is_stable_any_more_says_so() -> None:
    def taken_away(document: Document) -> float:
        world.custodian.documents.clear()
        return liked_features(document)

    world = small_world(quality=taken_away)
    assert "no revision is stable any more" in (await proposed(world)).reason


async def test_the_same_order_again_repeats_its_effect_and_searches_nothing() -> None:
    world = small_world()
    first = await proposed(world)
    runs = len(world.runs.started)
    assert await proposed(world) == first
    assert len(world.runs.started) == runs


async def test_another_order_under_the_same_id_is_refused() -> None:
    world = small_world()
    await proposed(world)
    with pytest.raises(InvalidInputError, match="evo-1"):
        await start_evolution(command(evaluations=300), world.evolution)


async def test_where_nothing_is_better_on_fresh_cases_nothing_is_proposed() -> None:
    world = small_world(quality=lambda document: 1.0)
    answer = await ended(world)
    assert answer.verdict == "no_candidate"
    assert answer.reasons and answer.seed_digest and not answer.deployed
    assert answer.evaluations <= 200


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pipeline": "unknown"}, "no pipeline 'unknown'"),
        ({"dataset_id": "unknown"}, "no dataset 'unknown'"),
        ({"evaluations": 47}, "at least 48"),
    ],
)
async def test_an_order_that_cannot_be_served_is_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    world = small_world()
    answer = await ended(world, **changes)
    assert answer.verdict == "refused"
    assert reason in str(answer.problems[0])
    assert world.runs.started == []


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        (labelled_cases(dev=10), "at least 16 dev cases"),
        (tuple(case.model_copy(update={"expected": "neutral"}) for case in labelled_cases()), "same label"),
        (tuple(case.model_copy(update={"input": {"body": "x"}}) for case in labelled_cases()), "needs the inputs ['text']"),
    ],
)
async def test_cases_that_decide_nothing_are_refused(cases: tuple[Case, ...], reason: str) -> None:
    answer = await ended(small_world(cases=cases))
    assert answer.verdict == "refused"
    assert reason in str(answer.problems[0])


async def test_a_stable_revision_that_fails_everywhere_is_refused_with_its_error() -> None:
    world = small_world(answers=lambda order: finished(order, "failed", None, error="no such model"))
    answer = await ended(world)
    assert answer.verdict == "refused"
    assert "no such model" in str(answer.problems[0])
    assert await world.database.collection("candidates_so_far").count({}) == 0, "nothing of it goes on"


async def test_without_executors_the_order_is_retried_not_answered() -> None:
    world = small_world(answers=lambda order: None)
    with pytest.raises(UnavailableError):
        await start_evolution(command(), world.evolution)
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None and record["status"] == "searching"


async def test_time_that_runs_out_ends_the_search_and_is_told() -> None:
    world = small_world()
    world.clock.tick_seconds = 0.2
    ((_, message),) = await start_evolution(command(seconds=5), world.evolution)
    if isinstance(message, EvolutionFinished):
        assert any("time" in reason for reason in message.reasons)
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None
    assert len(world.runs.started) < 200
    assert any("time" in reason for reason in (record.get("pending") or record["answer"])["reasons"])


async def test_progress_and_scores_are_announced() -> None:
    world = small_world()
    change = await proposed(world)
    facts = list(world.announcer.facts.values())
    assert [fact.stage for fact in facts if isinstance(fact, EvolutionProgressed)][-1] == "gate"
    scored = {fact.digest for fact in facts if isinstance(fact, PipelineScored)}
    assert {load_document(change.document).digest, change.parent_digest} <= scored


async def test_a_search_by_gepa_where_it_is_not_installed_is_refused_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    world = small_world()
    answer = await ended(world, strategy="gepa")
    assert answer.verdict == "refused" and "pip install 'evoline[gepa]'" in str(answer.problems[0])
    assert world.runs.started == []


async def test_time_that_ends_before_the_finalists_loses_nothing_of_what_was_found() -> None:
    """Also where robustness would be measured first."""
    for fault_cases in (0, 5):
        world = small_world()
        announce = world.announcer.announce

        async def and_then_time_is_up(
            message: Message, *, cause: str, effect: str, world: World = world, tell: Any = announce
        ) -> None:
            await tell(message, cause=cause, effect=effect)
            if effect.startswith("progress:finalists"):
                world.clock.moment += timedelta(seconds=3600)

        world.announcer.announce = and_then_time_is_up  # type: ignore[method-assign]
        answer = await ended(world, seconds=600, fault_cases=fault_cases)
        assert (answer.verdict, answer.candidates > 1) == ("no_candidate", True)
        assert any("the time is used up" in reason for reason in answer.reasons)
