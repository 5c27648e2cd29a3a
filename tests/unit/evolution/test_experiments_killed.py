"""An experiment killed before or after any write and any fact ends as one that nobody interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from services.evolution.adapters.experiments import MongoExperiments
from services.evolution.ports import Announcer, Experiments
from services.evolution.use_cases import forget
from services.evolution.use_cases.experiments import Laboratory, start_experiment
from shared.events.changes import ProposeChange
from shared.events.experiments import ExperimentFinished
from shared.events.message import Message
from shared.pipeline.loading import load_document
from tests.unit.evolution.test_experimenting import Lab, command, lab, variant, written

ORDER = command(variant("good", 95), variant("bad", 40), evaluations=45)


class KilledError(Exception):
    pass


@dataclass
class Fuse:
    """Blows at the n-th write or fact, before or after it is done."""

    left: int
    before: bool

    def spent(self, *, before: bool) -> None:
        if before == self.before:
            self.left -= 1
            if self.left == 0:
                raise KilledError


@dataclass
class KilledExperiments:
    inner: Experiments
    fuse: Fuse

    async def open(self, record: Mapping[str, Any]) -> dict[str, Any]:
        self.fuse.spent(before=True)
        found = await self.inner.open(record)
        self.fuse.spent(before=False)
        return found

    async def get(self, experiment_id: str) -> dict[str, Any] | None:
        return await self.inner.get(experiment_id)

    async def of_change(self, change_id: str) -> dict[str, Any] | None:
        return await self.inner.of_change(change_id)

    async def update(self, experiment_id: str, fields: Mapping[str, Any]) -> None:
        self.fuse.spent(before=True)
        await self.inner.update(experiment_id, fields)
        self.fuse.spent(before=False)

    async def conclude(self, experiment_id: str, fields: Mapping[str, Any]) -> bool:
        self.fuse.spent(before=True)
        is_written = await self.inner.conclude(experiment_id, fields)
        self.fuse.spent(before=False)
        return is_written

    async def stop(self, experiment_id: str, fields: Mapping[str, Any]) -> bool:
        self.fuse.spent(before=True)
        is_written = await self.inner.stop(experiment_id, fields)
        self.fuse.spent(before=False)
        return is_written

    async def is_stopped(self, experiment_id: str) -> bool:
        return await self.inner.is_stopped(experiment_id)

    async def latest(self, pipeline: str | None, limit: int) -> list[dict[str, Any]]:
        return await self.inner.latest(pipeline, limit)


@dataclass
class KilledAnnouncer:
    inner: Announcer
    fuse: Fuse

    async def announce(self, message: Message, *, cause: str, effect: str) -> None:
        self.fuse.spent(before=True)
        await self.inner.announce(message, cause=cause, effect=effect)
        self.fuse.spent(before=False)


def with_fuse(on: Lab, fuse: Fuse) -> Laboratory:
    evolution = replace(on.at.evolution, announcer=KilledAnnouncer(on.at.evolution.announcer, fuse))
    assert isinstance(on.at.experiments, MongoExperiments)
    return Laboratory(evolution, KilledExperiments(on.at.experiments, fuse), on.promotions)


async def outcome(on: Lab) -> tuple[Any, Any, Any, int]:
    record = await on.at.experiments.get("exp-1")
    assert record is not None
    facts = dict(on.world.announcer.facts)
    return await start_experiment(ORDER, on.at), record["pending"], facts, len(on.world.runs.started)


async def test_one_whose_stable_revision_was_taken_back_meanwhile_says_so_before_it_measures_again() -> None:
    on = lab(crash_after=30)
    with pytest.raises(RuntimeError, match="killed"):
        await start_experiment(ORDER, on.at)
    former = load_document(on.world.custodian.documents["tweets"]).digest
    await forget([former], on.world.evolution)
    on.world.custodian.documents["tweets"] = written(60)
    ran = len(on.world.runs.started)
    ((_, answer),) = await start_experiment(ORDER, on.at)
    assert isinstance(answer, ExperimentFinished) and answer.outcome == "refused"
    assert former[:12] in answer.reasons[0] and "taken back" in answer.reasons[0] and "order it again" in answer.reasons[0]
    assert len(on.world.runs.started) == ran
    ((effect, proposal),) = await start_experiment(ORDER, on.at)
    assert effect == "propose" and isinstance(proposal, ProposeChange)
    assert proposal.parent_digest == load_document(written(60)).digest, "against the revision that is stable now"


@pytest.mark.parametrize("before", [True, False])
async def test_killed_at_any_write_or_fact_it_comes_to_the_same_end(before: bool) -> None:
    whole = lab()
    await start_experiment(ORDER, whole.at)
    expected = await outcome(whole)
    points = 0
    while True:
        points += 1
        on = lab()
        fuse = Fuse(points, before)
        try:
            await start_experiment(ORDER, with_fuse(on, fuse))
        except KilledError:
            await start_experiment(ORDER, on.at)
        if fuse.left > 0:
            break
        assert await outcome(on) == expected, f"killed at point {points}"
    assert points > 10
