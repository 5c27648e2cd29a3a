"""The time of a search or an experiment counts while it is worked on, not while it waits for somebody who is down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.evolution.use_cases import start_evolution
from services.evolution.use_cases.experiments import read_experiment, start_experiment
from shared.errors import UnavailableError
from shared.events.changes import GrantScope, ProposeChange
from shared.events.experiments import GetExperiment
from shared.events.improvement import EvolutionFinished, EvolutionProgressed, StartEvolution
from shared.events.quotas import CloseScope
from shared.events.values import GrantedScope
from tests.fakes.evolution_world import World, granted, small_world
from tests.unit.evolution.test_experimenting import command as experiment
from tests.unit.evolution.test_experimenting import lab, variant

ORDER = StartEvolution(evolution_id="evo-1", pipeline="tweets", dataset_id="tweets3", evaluations=200, seconds=100, seed=1)


def expiring(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the scopes that are asked for: the same one is granted again until it has run out, as a guardrail does."""
    known: dict[str, GrantedScope] = {}

    async def grant(query: GrantScope) -> GrantedScope:
        found = known.setdefault(query.scope_id, granted(query, world.clock.moment + timedelta(seconds=query.seconds)))
        if datetime.fromisoformat(found.scope.expires_at) <= world.clock.moment:
            raise UnavailableError("the trial scope ended")
        return found

    monkeypatch.setattr(world.custodian, "grant_scope", grant)
    return known  # type: ignore[return-value]


async def away(*_: Any, **__: Any) -> Any:
    raise UnavailableError("nobody answers")


async def archive(world: World) -> str:
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None
    return str(record["archive_digest"])


async def test_a_search_that_waited_for_the_guardrail_still_has_all_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world()
    with monkeypatch.context() as outage:
        outage.setattr(world.custodian, "stable", away)
        with pytest.raises(UnavailableError):
            await start_evolution(ORDER, world.evolution)
    world.clock.moment += timedelta(hours=2)
    ((effect, found),) = await start_evolution(ORDER, world.evolution)
    assert effect == "propose" and isinstance(found, ProposeChange)


async def test_killed_and_taken_up_hours_later_it_comes_to_the_same_archive_in_a_scope_that_still_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, world = small_world(), small_world(crash_after=60)
    await start_evolution(ORDER, whole.evolution)
    scopes = expiring(world, monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    world.clock.moment += timedelta(hours=2)
    ((effect, _),) = await start_evolution(ORDER, world.evolution)
    assert effect == "propose" and await archive(world) == await archive(whole)
    assert len(world.runs.started) == len(set(world.runs.started)), "nothing was measured twice"
    closed = [fact.scope_id for fact in world.announcer.facts.values() if isinstance(fact, CloseScope)]
    assert len(scopes) == 2 and closed == list(scopes), "both are given back"


async def test_a_short_interruption_goes_on_in_the_same_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world(crash_after=60)
    scopes = expiring(world, monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    world.clock.moment += timedelta(seconds=30)
    await start_evolution(ORDER, world.evolution)
    assert len(scopes) == 1


async def test_time_that_was_worked_before_a_kill_stays_used_up() -> None:
    world = small_world(crash_after=100)
    world.clock.tick_seconds = 0.1  # at every look at the clock
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None and 0 < record["worked_seconds"] < ORDER.seconds
    world.clock.tick_seconds = 0.0
    ran = len(world.runs.started)
    short = {"worked_seconds": ORDER.seconds}
    await world.evolution.evolutions.update("evo-1", short)
    ((_, answer),) = await start_evolution(ORDER, world.evolution)
    assert isinstance(answer, EvolutionFinished) and "the time is used up" in str(answer.reasons)
    assert len(world.runs.started) == ran


async def test_what_is_told_of_the_time_left_is_what_work_may_still_take() -> None:
    world = small_world(crash_after=60)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    world.clock.moment += timedelta(hours=1)
    world.clock.tick_seconds = 0.05
    await start_evolution(ORDER, world.evolution)
    told = [fact for fact in world.announcer.facts.values() if isinstance(fact, EvolutionProgressed)]
    last = max(told, key=lambda fact: fact.elapsed_seconds)
    assert last.elapsed_seconds > 3600, "pauses of the service included"
    assert any(fact.seconds_left for fact in told if fact.elapsed_seconds > 3600), "some time is left"


@pytest.mark.parametrize("pause", [30.0, 7200.0])
async def test_an_experiment_that_was_killed_and_waited_measures_all_of_its_cases(
    pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = experiment(variant("good", 95), variant("bad", 40), seconds=100)
    whole, on = lab(), lab(crash_after=60)
    expected = await start_experiment(order, whole.at)
    scopes = expiring(on.world, monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        await start_experiment(order, on.at)
    on.world.clock.moment += timedelta(seconds=pause)
    found = await start_experiment(order, on.at)
    assert documents(found) == documents(expected)
    assert len(on.world.runs.started) == len(set(on.world.runs.started))
    closed = [fact.scope_id for fact in on.world.announcer.facts.values() if isinstance(fact, CloseScope)]
    assert len(scopes) == (1 if pause < 60 else 2) and closed == list(scopes)
    record = await read_experiment(GetExperiment(experiment_id="exp-1"), on.at)
    assert record["worked_seconds"] == 0.0, "the clock of this test stands still while it works"


def documents(effects: Sequence[tuple[str, Any]]) -> list[Any]:
    return [(effect, message.document) for effect, message in effects]
