"""One search or one experiment is stopped by order: at once, once, by who may, and what it holds is free again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from services.evolution.use_cases import read_evolution, start_evolution, stop_evolution
from services.evolution.use_cases.experiments import give_up_experiment, read_experiment, start_experiment, stop_experiment
from shared.errors import InvalidInputError, NotAuthorizedError, NotFoundError
from shared.events.experiments import ExperimentFinished, GetExperiment, StopExperiment
from shared.events.improvement import EvolutionFinished, GetEvolution, StartEvolution, StopEvolution
from shared.events.quotas import CloseScope
from shared.identity import UNSIGNED, Signature
from tests.fakes.evolution_world import World, small_world
from tests.fakes.people import identity
from tests.unit.evolution.test_experimenting import command as experiment
from tests.unit.evolution.test_experimenting import lab, variant

ORDER = StartEvolution(evolution_id="evo-1", pipeline="tweets", dataset_id="tweets3", evaluations=200, seed=1, author="ada")
STOP = StopEvolution(evolution_id="evo-1", reason="the wrong data set", author="ada")
STOP_EXPERIMENT = StopExperiment(experiment_id="exp-1", reason="the wrong data set", author="ada")


def signed(name: str, *roles: str) -> Signature:
    return Signature(identity(name, *roles), None, "")


ADA = signed("ada")


def closed(world: World) -> list[str]:
    return [fact.scope_id for fact in world.announcer.facts.values() if isinstance(fact, CloseScope)]


def interrupted(world: World, stop: Callable[[], Any], after: int) -> None:
    """`stop` happens while the fleet works on what comes after so many runs."""
    run_all = world.runs.run_all

    async def and_then(*commands: Any, **options: Any) -> Any:
        ended = await run_all(*commands, **options)
        if len(world.runs.started) >= after:
            world.runs.run_all = run_all  # type: ignore[method-assign]
            await stop()
        return ended

    world.runs.run_all = and_then  # type: ignore[method-assign]


async def test_a_search_that_is_stopped_while_it_runs_ends_at_its_next_measurement_and_proposes_nothing() -> None:
    world, told = small_world(), []

    async def stop() -> None:
        told.extend(await stop_evolution(STOP, ADA, world.evolution))

    interrupted(world, stop, 40)
    assert await start_evolution(ORDER, world.evolution) == [], "who stopped it has told it"
    ((effect, fact),) = told
    assert effect == "finished" and isinstance(fact, EvolutionFinished)
    assert (fact.verdict, fact.reasons) == ("stopped", ("stopped by ada: the wrong data set",)) and not fact.deployed
    ran = len(world.runs.started)
    assert ran < 100 and len(closed(world)) == 1
    record = await read_evolution(GetEvolution(evolution_id="evo-1"), world.evolution)
    assert record["status"] == "finished" and record["answer"]["verdict"] == "stopped" and record["candidates"] == []
    ((_, again),) = await start_evolution(ORDER, world.evolution)
    assert again == fact and len(world.runs.started) == ran, "the same order comes back to its end"


async def test_a_search_that_nobody_works_on_is_stopped_and_does_not_begin_again() -> None:
    world = small_world(crash_after=40)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    first = await stop_evolution(STOP, ADA, world.evolution)
    assert await stop_evolution(STOP, ADA, world.evolution) == first, "again it is told again"
    assert len(set(closed(world))) == 1
    ran = len(world.runs.started)
    assert await start_evolution(ORDER, world.evolution) == first and len(world.runs.started) == ran


async def test_a_search_that_comes_to_its_end_just_as_it_is_stopped_proposes_nothing() -> None:
    world = small_world()
    announce = world.announcer.announce

    async def and_stop(message: Any, *, cause: str, effect: str) -> None:
        await announce(message, cause=cause, effect=effect)
        if effect.startswith("progress:gate"):
            await stop_evolution(STOP, ADA, world.evolution)

    world.announcer.announce = and_stop  # type: ignore[method-assign]
    assert await start_evolution(ORDER, world.evolution) == []
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None and "proposal" not in record and record["answer"]["verdict"] == "stopped"


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (UNSIGNED, "not signed"),
        (signed("eve", "operator"), "signed by eve"),
        (signed("bob"), "takes whoever ordered it"),
        (signed("bob", "reviewer"), "takes whoever ordered it"),
    ],
)
async def test_who_neither_ordered_it_nor_has_the_role_stops_nothing(who: Signature, said: str) -> None:
    world, on = small_world(crash_after=40), lab(crash_after=10)
    for started in (start_evolution(ORDER, world.evolution), start_experiment(experiment(variant("a", 95)), on.at)):
        with pytest.raises(RuntimeError, match="killed"):
            await started
    author = {"author": "bob"}
    with pytest.raises(NotAuthorizedError, match=said):
        await stop_evolution(STOP.model_copy(update=author), who, world.evolution)
    with pytest.raises(NotAuthorizedError, match=said):
        await stop_experiment(STOP_EXPERIMENT.model_copy(update=author), who, on.at)
    assert closed(world) == closed(on.world) == []


@pytest.mark.parametrize("role", ["operator", "admin"])
async def test_operators_and_admins_stop_what_others_ordered(role: str) -> None:
    world = small_world(crash_after=40)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    ((_, fact),) = await stop_evolution(STOP.model_copy(update={"author": "bob"}), signed("bob", role), world.evolution)
    assert isinstance(fact, EvolutionFinished) and fact.reasons == ("stopped by bob: the wrong data set",)


async def test_what_is_unknown_has_ended_or_was_proposed_is_not_stopped() -> None:
    world = small_world()
    with pytest.raises(NotFoundError, match="evoline experiment stop"):
        await stop_evolution(STOP, ADA, world.evolution)
    ((effect, _),) = await start_evolution(ORDER, world.evolution)
    assert effect == "propose"
    with pytest.raises(InvalidInputError, match="evoline review deny"):
        await stop_evolution(STOP, ADA, world.evolution)
    poor = small_world(quality=lambda _: 1.0)  # nothing can be better
    await start_evolution(ORDER, poor.evolution)
    with pytest.raises(InvalidInputError, match="has ended: no_candidate"):
        await stop_evolution(STOP, ADA, poor.evolution)


async def test_an_experiment_is_stopped_while_it_runs_and_stays_stopped() -> None:
    on, told = lab(), []
    order = experiment(variant("good", 95), author="ada")

    async def stop() -> None:
        told.extend(await stop_experiment(STOP_EXPERIMENT, ADA, on.at))

    interrupted(on.world, stop, 30)
    assert await start_experiment(order, on.at) == []
    ((effect, fact),) = told
    assert effect == "finished" and isinstance(fact, ExperimentFinished)
    assert (fact.outcome, fact.reasons) == ("stopped", ("stopped by ada: the wrong data set",))
    ran = len(on.world.runs.started)
    assert ran < 60 and len(set(closed(on.world))) == 1
    assert await start_experiment(order, on.at) == told and len(on.world.runs.started) == ran
    assert await stop_experiment(STOP_EXPERIMENT, ADA, on.at) == told
    await give_up_experiment(order, on.at)
    shown = await read_experiment(GetExperiment(experiment_id="exp-1"), on.at)
    assert (shown["status"], shown["answer"]["outcome"]) == ("finished", "stopped")


async def test_an_experiment_that_is_unknown_has_ended_or_was_proposed_is_not_stopped() -> None:
    on = lab()
    with pytest.raises(NotFoundError, match="evoline experiment list"):
        await stop_experiment(STOP_EXPERIMENT, ADA, on.at)
    await start_experiment(experiment(variant("good", 95), author="ada"), on.at)
    with pytest.raises(InvalidInputError, match="evoline review deny"):
        await stop_experiment(STOP_EXPERIMENT, ADA, on.at)
    same = lab(quality=lambda _: 1.0)
    await start_experiment(experiment(variant("same", 50), author="ada"), same.at)
    with pytest.raises(InvalidInputError, match="has ended: no_winner"):
        await stop_experiment(STOP_EXPERIMENT, ADA, same.at)
