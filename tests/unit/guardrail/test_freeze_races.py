"""A freeze at every moment of what puts something into service: what it found is what stays, from the moment when it is told."""

from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.domain.records import Deployment
from services.guardrail.use_cases import freeze_system
from shared.events.recovery import FreezeSystem, SystemFrozen
from tests.fakes.guardrail import Bench, facts
from tests.unit.guardrail.test_quarantine_races import MOST_OPERATIONS, Actor, Race, again


async def lower_maturity(race: Race, by: Bench) -> None:
    """By a person, so that no rule keeps it waiting."""
    fields: dict[str, Any] = {"kind": "maturity", "pipeline": "triage", "author": "ada", "domain": "support"}
    await again(lambda: by.propose({"maturity": "experimental"}, "m1", **fields))


class Freezing:
    """Freezes everything, and remembers what it left behind."""

    def __init__(self) -> None:
        self.left: Deployment | None = None

    async def freeze(self, race: Race, by: Bench) -> None:
        command = FreezeSystem(freeze_id="f1", scope="all", reason="incident", author="alice")
        (told,) = facts(await again(lambda: freeze_system(command, by.at)))
        assert isinstance(told, SystemFrozen)
        self.left = await race.deployment()


ACTORS: dict[str, Actor] = {"change": Race.change, "rollout": Race.roll_out, "maturity": lower_maturity}


async def begun() -> Race:
    race = Race()
    await race.begin()
    beta = (await race.deployment()).model_copy(update={"maturity": "beta"})
    assert await race.bench.at.deployments.swap(beta, from_generation=beta.generation)
    return race


@pytest.mark.parametrize("actor", ACTORS)
async def test_nothing_goes_up_from_the_moment_when_a_freeze_is_told(actor: str) -> None:
    for operation in range(1, MOST_OPERATIONS):
        race, freezing = await begun(), Freezing()
        if not await race.interrupted(operation, ACTORS[actor], freezing.freeze):
            break
        await race.look(race.bench)
        now, left = await race.deployment(), freezing.left
        assert left is not None
        assert (now.stable, now.maturity) == (left.stable, left.maturity), f"at operation {operation}"
        assert now.canary in (left.canary, None), f"at operation {operation}"
        if now.rollout is not None:
            assert left.rollout is not None and now.rollout.share <= left.rollout.share, f"at operation {operation}"
    assert operation > 10


@pytest.mark.parametrize("actor", ACTORS)
async def test_each_of_them_moves_the_deployment_where_nobody_freezes(actor: str) -> None:
    race = await begun()
    before = await race.deployment()
    await ACTORS[actor](race, race.bench)
    after = await race.deployment()
    assert (after.stable, after.maturity) != (before.stable, before.maturity)
