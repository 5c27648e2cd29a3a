"""What a search holds is free again however it ends: also where it fails before it measures again, or is tried no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.evolution import subscribers
from services.evolution.use_cases import give_up_evolution, start_evolution
from services.evolution.use_cases.experiments import give_up_experiment, start_experiment
from shared.attestation import Approvals
from shared.clock import SystemClock
from shared.errors import InvalidInputError, UnavailableError
from shared.events.changes import ProposeChange
from shared.events.experiments import ExperimentFinished
from shared.events.improvement import StartEvolution
from shared.events.message import Message
from shared.events.quotas import CloseScope
from shared.events.values import GrantedScope
from shared.messaging.handling import Delivery, Effects
from tests.fakes.evolution_world import World, granted, small_world
from tests.unit.evolution.test_experimenting import command as experiment
from tests.unit.evolution.test_experimenting import lab, variant

ORDER = StartEvolution(evolution_id="evo-1", pipeline="tweets", dataset_id="tweets3", evaluations=200, seed=1)


def closed(world: World) -> list[str]:
    return [fact.scope_id for fact in world.announcer.facts.values() if isinstance(fact, CloseScope)]


def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the scopes that are asked for from now on."""
    found: list[str] = []

    async def grant(query: Any) -> GrantedScope:
        found.append(query.scope_id)
        return granted(query, world.clock.moment)

    monkeypatch.setattr(world.custodian, "grant_scope", grant)
    return found


async def test_a_search_that_cannot_go_on_after_a_crash_closes_the_scope_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world(crash_after=40)
    scopes = asked(world, monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    assert closed(world) == []
    del world.custodian.documents["tweets"]
    ((effect, answer),) = await start_evolution(ORDER, world.evolution)
    assert effect == "finished" and getattr(answer, "verdict", "") == "refused"
    assert closed(world) == scopes != []
    await start_evolution(ORDER, world.evolution)
    assert closed(world) == scopes, "once"


async def test_a_scope_that_may_have_been_granted_although_nobody_heard_of_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world()

    async def silent(_: Any) -> GrantedScope:
        raise UnavailableError("the guardrail does not answer")

    monkeypatch.setattr(world.custodian, "grant_scope", silent)
    with pytest.raises(UnavailableError):
        await start_evolution(ORDER, world.evolution)
    del world.custodian.data["tweets3"]
    await start_evolution(ORDER, world.evolution)
    assert len(closed(world)) == 1


async def test_a_search_that_was_given_up_holds_nothing_and_goes_on_in_a_new_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    calm, world = small_world(), small_world(crash_after=40)
    ((_, expected),) = await start_evolution(ORDER, calm.evolution)
    scopes = asked(world, monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    for _ in range(2):
        await give_up_evolution(ORDER, world.evolution)
    assert closed(world) == scopes and len(scopes) == 1
    ((effect, found),) = await start_evolution(ORDER, world.evolution)
    assert isinstance(found, ProposeChange) and isinstance(expected, ProposeChange)
    assert effect == "propose" and found.document == expected.document
    assert len(set(scopes)) == 2 and closed(world) == scopes
    assert len(world.runs.started) == len(set(world.runs.started)), "nothing was measured twice"


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_search_goes_on_although_whoever_gave_it_up_died_over_it(is_told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """At closing the scope, just before or just after the broker had it. A closed scope is not granted again."""
    world = small_world(crash_after=40)
    scopes = asked(world, monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    announce = world.announcer.announce

    async def dies(message: Message, *, cause: str, effect: str) -> None:
        monkeypatch.setattr(world.announcer, "announce", announce)
        if is_told:
            await announce(message, cause=cause, effect=effect)
        raise UnavailableError("the process ends here")

    monkeypatch.setattr(world.announcer, "announce", dies)
    with pytest.raises(UnavailableError, match="ends here"):
        await give_up_evolution(ORDER, world.evolution)
    ((effect, _),) = await start_evolution(ORDER, world.evolution)
    assert effect == "propose"
    assert len(set(scopes)) == 2 and closed(world) == scopes


async def test_an_experiment_that_was_given_up_holds_nothing_and_one_that_ended_stays_ended() -> None:
    on, order = lab(), experiment(variant("good", 95))
    on.world.runs.crash_after = 10
    with pytest.raises(RuntimeError, match="killed"):
        await start_experiment(order, on.at)
    await give_up_experiment(order, on.at)
    assert len(closed(on.world)) == 1
    effects = await start_experiment(order, on.at)
    await give_up_experiment(order, on.at)
    assert len(set(closed(on.world))) == 2 and await start_experiment(order, on.at) == effects


async def test_an_experiment_that_is_refused_at_the_door_closes_no_scope_that_it_never_asked_for() -> None:
    on = lab()
    ((_, answer),) = await start_experiment(experiment(variant("good", 95), dataset_id="nowhere"), on.at)
    assert isinstance(answer, ExperimentFinished) and answer.outcome == "refused"
    assert closed(on.world) == []


async def test_whoever_gives_up_gives_up_nothing_of_another_order_under_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    world = small_world(crash_after=40)
    scopes = asked(world, monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(ORDER, world.evolution)
    await give_up_evolution(ORDER.model_copy(update={"seed": 2}), world.evolution)
    assert closed(world) == []
    await start_evolution(ORDER, world.evolution)
    assert len(set(scopes)) == 1, "it goes on in the scope that it had"
    on, order = lab(), experiment(variant("good", 95))
    on.world.runs.crash_after = 10
    with pytest.raises(RuntimeError, match="killed"):
        await start_experiment(order, on.at)
    await give_up_experiment(order.model_copy(update={"seed": 2}), on.at)
    assert closed(on.world) == []


@dataclass
class Registered:
    """Keeps the handlers that a service registers."""

    handlers: dict[type[Message], Callable[[Any, Delivery], Awaitable[Effects]]] = field(default_factory=dict)

    def on(self, message_class: type[Message], handler: Callable[[Any, Delivery], Awaitable[Effects]], **_: Any) -> None:
        self.handlers[message_class] = handler

    def answers(self, *_: Any) -> None: ...


@pytest.mark.parametrize(("attempt", "is_last"), [(1, False), (39, False), (40, True)])
async def test_the_last_delivery_that_fails_gives_up(attempt: int, is_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    on, heard = lab(), Registered()
    world = on.world

    async def away(*_: Any, **__: Any) -> Any:
        raise UnavailableError("no executor answers")

    monkeypatch.setattr(world.runs, "run_all", away)
    subscribers.register(heard, on.at, Approvals(lambda: None, SystemClock()), concurrency=1)  # type: ignore[arg-type,return-value]
    delivery = Delivery(message_id="m", sequence=1, attempt=attempt, subject="", headers={})
    for order in (ORDER, experiment(variant("good", 95))):
        with pytest.raises(UnavailableError):
            await heard.handlers[type(order)](order, delivery)
    assert len(closed(world)) == (2 if is_last else 0)
    with pytest.raises(InvalidInputError, match="another evolution"):
        await heard.handlers[StartEvolution](ORDER.model_copy(update={"seed": 2}), delivery)
    assert len(closed(world)) == (2 if is_last else 0), "the other one's scope is none of its business"
