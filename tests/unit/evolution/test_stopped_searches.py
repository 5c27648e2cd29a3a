"""A search that is frozen, or whose beginning is taken back, ends with the reason and remembers nothing false."""

from __future__ import annotations

from typing import Any

import pytest

from services.evolution.use_cases import forget, start_evolution
from services.evolution.use_cases.rewriting import ModelRewriter
from shared.errors import FrozenError
from shared.events.changes import GrantScope
from shared.events.improvement import EvolutionFinished, StartEvolution
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Budget
from shared.pipeline.loading import load_document
from tests.fakes.evolution_world import World, finished, granted, seed_document, small_world

FROZEN_AFTER = 20


async def ended(world: World, evolution_id: str = "evo-1") -> EvolutionFinished:
    command = StartEvolution(evolution_id=evolution_id, pipeline="tweets", dataset_id="tweets3", evaluations=200)
    ((_, fact),) = await start_evolution(command, world.evolution)
    assert isinstance(fact, EvolutionFinished)
    return fact


async def test_a_frozen_search_ends_and_its_stopped_runs_are_not_remembered_as_failures() -> None:
    world = small_world()

    def frozen_later(command: ExecuteRun) -> RunFinished:
        if len(world.runs.started) > FROZEN_AFTER:
            stopped: dict[str, Any] = {"status": "cancelled", "error": "the system is frozen by alice", "error_code": "frozen"}
            return finished(command, "cancelled", None).model_copy(update=stopped)
        return world.runs._answer(command)

    world.runs.answers = frozen_later
    answer = await ended(world)
    assert (answer.verdict, answer.reasons) == ("refused", ("the system is frozen by alice",))
    kept = await world.evolution.cache.known(list(await _keys(world)))
    assert kept and all(row["status"] == "succeeded" for row in kept.values())


async def _keys(world: World) -> list[str]:
    return [row["_id"] for row in await world.evolution.cache._evaluations.find({})]  # type: ignore[attr-defined]


async def test_a_rewrite_that_a_freeze_stopped_is_asked_for_again_when_the_freeze_is_over() -> None:
    world = small_world()
    budget = Budget(runs=9, calls=9, tokens=9000, cost_usd=0.0)
    wish = GrantScope(scope_id="s", purpose="evolution", holder="evolution", domain="social", budget=budget, seconds=60)
    scope = granted(wish, world.clock.moment)
    stopped: dict[str, Any] = {"status": "cancelled", "error": "the system is frozen by alice", "error_code": "frozen"}
    world.runs.answers = lambda order: finished(order, "cancelled", None).model_copy(update=stopped)
    with pytest.raises(FrozenError, match="frozen by alice"):
        await ModelRewriter("evo-1", scope, world.evolution, 0)({}, "key")
    world.runs.answers = lambda order: finished(order, "succeeded", {"instruction": "Think first."})
    world.runs.ended.clear()
    again = ModelRewriter("evo-1", scope, world.evolution, 0)
    assert await again({}, "key") == "Think first." and again.told() == ()


async def test_a_search_whose_beginning_is_taken_back_proposes_nothing() -> None:
    world = small_world()
    seed = load_document(seed_document()).digest
    await forget([seed], world.evolution)
    answer = await ended(world)
    assert answer.verdict == "refused" and "taken back" in answer.reasons[0]
    assert await _keys(world) == [], "nor is anything kept of it"


async def test_what_was_measured_of_a_revision_is_forgotten_when_it_is_taken_back() -> None:
    world = small_world()
    seed = load_document(seed_document()).digest
    command = StartEvolution(evolution_id="evo-1", pipeline="tweets", dataset_id="tweets3", evaluations=200)
    await start_evolution(command, world.evolution)
    before = await world.database.collection("evaluations").find({})
    assert any(row["digest"] == seed for row in before)
    await forget([seed], world.evolution)
    after = await world.database.collection("evaluations").find({})
    assert after == [row for row in before if row["digest"] != seed] != []
