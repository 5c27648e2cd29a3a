"""The stores of experiments and searches on the fake and on the real database."""

from __future__ import annotations

from typing import Any

import pytest

from services.evolution.adapters.experiments import MongoExperiments
from services.evolution.adapters.mongo import MongoEvolutions
from shared.storage import Database


@pytest.fixture
async def experiments(database: Database) -> MongoExperiments:
    made = MongoExperiments(database)
    await made.prepare()
    return made


def record(name: str, minute: int, **fields: Any) -> dict[str, Any]:
    return {"_id": name, "pipeline": "tweets", "status": "measuring", "created_at": f"2026-11-01T10:{minute:02d}:00", **fields}


async def test_the_first_record_of_an_id_stays_and_is_found_by_its_change(experiments: MongoExperiments) -> None:
    assert (await experiments.open(record("e1", 1)))["status"] == "measuring"
    await experiments.update("e1", {"status": "proposed", "change_id": "c1", "pending": {"variants": [{"label": "a"}]}})
    assert (await experiments.open(record("e1", 2)))["status"] == "proposed"
    found = await experiments.of_change("c1")
    assert found is not None and (found["_id"], found["pending"]["variants"][0]["label"]) == ("e1", "a")
    assert await experiments.of_change("c2") is None and await experiments.get("e2") is None


async def test_the_latest_come_first_and_only_those_of_a_pipeline_where_one_is_named(experiments: MongoExperiments) -> None:
    for number in range(4):
        await experiments.open(record(f"e{number}", number, pipeline="tweets" if number % 2 else "mails"))
    assert [each["_id"] for each in await experiments.latest(None, 3)] == ["e3", "e2", "e1"]
    assert [each["_id"] for each in await experiments.latest("mails", 10)] == ["e2", "e0"]


@pytest.mark.parametrize("kind", [MongoExperiments, MongoEvolutions])
async def test_what_was_stopped_stays_as_it_is_and_what_ended_or_proposed_is_not_stopped(
    database: Database, kind: type[MongoExperiments] | type[MongoEvolutions]
) -> None:
    store, nothing = kind(database), {"answer": None} if kind is MongoExperiments else {}
    for number, name in enumerate(("going", "ended", "proposed")):
        await store.open(record(name, number, **nothing))
    assert await store.conclude("ended", {"answer": {"outcome": "no_winner"}})
    assert await store.conclude("proposed", {"proposal": {"change_id": "c"}})
    assert not await store.stop("ended", {"status": "finished"}) and not await store.stop("proposed", {"status": "finished"})
    assert not await store.stop("unknown", {"status": "finished"}) and not await store.is_stopped("unknown")
    assert not await store.is_stopped("going")
    assert await store.stop("going", {"status": "finished", "answer": {"outcome": "stopped"}})
    assert await store.is_stopped("going") and not await store.is_stopped("ended")
    assert not await store.conclude("going", {"answer": {"outcome": "no_winner"}, "proposal": {}})
    assert not await store.stop("going", {"answer": {"outcome": "again"}}), "once"
    kept = await store.get("going")
    assert kept is not None and kept["answer"] == {"outcome": "stopped"} and "proposal" not in kept
