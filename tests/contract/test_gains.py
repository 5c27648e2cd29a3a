"""The store of claims and outcomes on the fake and on the real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.learner.adapters import ageing
from services.learner.adapters import gains as adapter
from services.learner.adapters.gains import MongoGains
from services.learner.adapters.mongo import MongoKnowledgeStore
from shared.storage import Database

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RUN = {"pipeline": "triage", "digest": "new", "arm": "canary", "failed": False}


@pytest.fixture
async def gains(database: Database) -> MongoGains:
    made = MongoGains(database)
    await made.prepare()
    return made


async def test_a_claim_grows_in_any_order_and_counts_once_it_was_measured_and_let_in(gains: MongoGains) -> None:
    await gains.note("c1", {"strategy": "climb"})
    await gains.note("c1", {"approved": True, "pipeline": "triage", "digest": "new"})
    assert await gains.claims_of("triage", "new") == []
    await gains.note("c1", {"pipeline": "triage", "digest": "new", "incumbent": "old", "gain": 0.2})
    (claim,) = await gains.claims_of("triage", "new")
    assert (claim["_id"], claim["strategy"], claim["incumbent"]) == ("c1", "climb", "old")
    assert await gains.claims_of("triage", "old") == [] and await gains.claim("c2") is None


async def test_the_claims_looked_at_last_come_first(gains: MongoGains) -> None:
    for number, looked in enumerate(("", "2026-11-02", "2026-11-01")):
        await gains.note(
            f"c{number}", {"pipeline": "triage" if number else "mails", **({"looked": True, "looked_at": looked} if looked else {})}
        )
    assert [claim["_id"] for claim in await gains.latest(None, 10)] == ["c1", "c2"]
    assert [claim["_id"] for claim in await gains.latest("triage", 1)] == ["c1"]
    assert await gains.latest("mails", 10) == []


async def test_a_run_and_its_first_report_are_one_outcome_and_a_failed_run_is_worth_nothing(gains: MongoGains) -> None:
    await gains.add_run("r1", RUN, NOW)
    assert await gains.join("r1") is None
    await gains.add_report("r1", 0.5, NOW)
    await gains.add_report("r1", 1.0, NOW)
    await gains.add_report("r2", 1.0, NOW)
    assert await gains.join("r2") is None
    await gains.add_run("r2", {**RUN, "failed": True}, NOW)
    for _ in range(2):
        joined = [await gains.join(name) for name in ("r1", "r2")]
    assert [(row["_id"], row["score"]) for row in joined if row] == [("r1", 0.5), ("r2", 0.0)]
    assert await gains.count("triage", "new") == 2 and await gains.count("triage", "old") == 0
    assert {row["_id"] for row in await gains.outcomes("triage", ("new", "old"))} == {"r1", "r2"}


async def test_runs_are_counted_whether_scored_or_not_and_by_arm(gains: MongoGains) -> None:
    for number, arm in enumerate(("canary", "canary", "")):
        await gains.add_run(f"r{number}", {"pipeline": "triage", "digest": "new", "arm": arm, "failed": False, "unit": None}, NOW)
    assert [await gains.served("triage", "new", arm) for arm in ("", "canary", "control")] == [3, 2, 0]
    assert await gains.served("triage", "old", "") == await gains.served("mails", "new", "") == 0


async def test_a_revision_with_many_outcomes_leaves_those_of_the_other_in_sight(
    gains: MongoGains, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_MOST_OUTCOMES", 3)
    for number, digest in enumerate(("old",) * 5 + ("new",) * 2):
        await gains.add_run(f"r{number}", {"pipeline": "triage", "digest": digest, "arm": "", "failed": False}, NOW)
        await gains.add_report(f"r{number}", 1.0, NOW)
        await gains.join(f"r{number}")
    assert [each["digest"] for each in await gains.outcomes("triage", ("new", "old"))] == ["new"] * 2 + ["old"] * 3


async def days_later(gains: MongoGains, days: float) -> int:
    return await gains.forget(NOW + timedelta(days=days), reports_after=timedelta(days=60), runs_after=timedelta(days=365))


async def test_reports_wait_for_so_long_and_runs_and_outcomes_are_kept_longer(gains: MongoGains) -> None:
    await gains.add_report("early", 1.0, NOW)
    await gains.add_run("both", RUN, NOW)
    await gains.add_report("both", 1.0, NOW + timedelta(days=5))
    assert await gains.join("both")
    assert await days_later(gains, 60) == 0
    assert await days_later(gains, 61) == 1
    await gains.add_run("early", RUN, NOW)
    assert await gains.join("early") is None
    assert await days_later(gains, 365) == 1
    assert await days_later(gains, 366) == 2
    assert await gains.count("triage", "new") == 1
    assert await days_later(gains, 371) == 1
    assert await gains.count("triage", "new") == 0


async def test_what_has_no_moment_is_as_old_as_the_round_that_finds_it(database: Database) -> None:
    gains = MongoGains(database)
    await database.collection("served_runs").insert_once({"_id": "former", **RUN})
    await database.collection("reports").insert_once({"_id": "former", "score": 1.0})
    assert await gains.join("former")
    assert await days_later(gains, 1000) == 0
    assert await days_later(gains, 1061) == 1
    assert await days_later(gains, 1366) == 2


async def test_of_too_many_outcomes_the_newest_are_read(gains: MongoGains, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_MOST_OUTCOMES", 3)
    for name, day in (("c", 2), ("a", 5), ("e", 1), ("b", 4), ("d", 3)):
        await gains.add_run(name, RUN, NOW + timedelta(days=day))
        await gains.add_report(name, 1.0, NOW)
        await gains.join(name)
    assert [each["_id"] for each in await gains.outcomes("triage", ("new",))] == ["a", "b", "d"]


async def test_what_is_old_is_removed_in_bounded_rounds_the_oldest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ageing, "_MOST_AT_ONCE", 2)
    monkeypatch.setattr(ageing, "_MOST_PARTS", 2)
    store, later = MongoKnowledgeStore(database), NOW + timedelta(days=400)
    await store.prepare()
    for number in range(5):
        await store.count_run(f"r{number}", "d", True, NOW + timedelta(days=number))
    await store.count_run("fresh", "d", True, later)
    await database.collection("runs").insert_many([{"_id": f"former-{number}", "digest": "d"} for number in range(3)])
    for _ in range(2):
        await store.count_run("r0", "d", True, later)
    assert [await store.forget_runs(later, timedelta(days=365)) for _ in range(3)] == [4, 1, 0]
    assert await store.runs() == 4
    assert await store.forget_runs(later + timedelta(days=365), timedelta(days=365)) == 0
    assert [await store.forget_runs(later + timedelta(days=366), timedelta(days=365)) for _ in range(2)] == [3, 1]
    assert await store.runs() == 0
