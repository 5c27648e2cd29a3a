"""What is told of a search from its measurements alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from evoline.lineage.tree import build
from services.evolution.adapters.descent import MongoDescent
from services.evolution.domain.pace import seconds_left
from services.evolution.domain.records import MOST_SO_FAR, rows_so_far
from services.evolution.use_cases import read_evolution, start_evolution
from services.evolution.use_cases.descent import read_candidate, read_lineage
from services.evolution.use_cases.under_way import Effects, UnderWay
from shared.events.improvement import EvolutionProgressed, GetEvolution, StartEvolution
from shared.events.lineage import GetCandidate, GetLineage
from shared.search.candidates import Candidate
from shared.search.watching import POINTS, Watch, WatchedArena, note_accepted, note_generation
from tests.fakes.evolution_world import small_world

CASES = tuple(f"case-{index}" for index in range(20))


def candidate(name: str, parent: str = "seed") -> Candidate:
    return Candidate(name, {"prompt": name}, parent, f"operator of {name}", f"made {name}")


class Scripted:
    """An arena in which a candidate is right in a share of the cases."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.shares = shares
        self.spent = 0
        self.remaining = 10_000

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        self.spent += len(candidates) * len(cases)
        return [[float(CASES.index(case) < self.shares[one.digest] * len(CASES)) for case in cases] for one in candidates]


def watched(**shares: float) -> tuple[WatchedArena, Watch]:
    inner = Scripted({"seed": 0.5, **shares})
    watch = Watch(candidate("seed", ""), lambda: inner.spent, 200)
    return WatchedArena(inner, watch), watch


async def test_the_leader_and_its_gain_are_seen_without_the_strategys_help() -> None:
    arena, watch = watched(good=0.9, bad=0.1)
    await arena.measure([candidate("seed", "")], CASES)
    assert watch.leader.candidate.digest == "seed" and watch.accepted is None
    await arena.measure([candidate("bad"), candidate("good")], CASES)
    assert watch.leader.candidate.digest == "good" and watch.candidates == 3
    assert watch.accepted is not None and watch.accepted.operator == "operator of good"
    last = watch.points[-1]
    assert (last.digest, last.spent, last.cases) == ("good", 60, 20)
    assert last.gain == pytest.approx(0.4)
    assert last.low < last.gain < last.high


async def test_few_lucky_cases_do_not_lead() -> None:
    arena, watch = watched(lucky=0.55, good=0.8)
    await arena.measure([candidate("seed", "")], CASES)
    await arena.measure([candidate("good")], CASES)
    await arena.measure([candidate("lucky")], CASES[:2])  # two of two
    assert watch.leader.candidate.digest == "good"


async def test_what_a_strategy_tells_counts_more_than_what_seems() -> None:
    arena, watch = watched(good=0.9, other=0.6)
    note_accepted(arena, candidate("other"))
    note_generation(arena, 2, 5)
    await arena.measure([candidate("seed", ""), candidate("good")], CASES)
    assert watch.accepted is not None and watch.accepted.digest == "other"
    assert (watch.generation, watch.generations) == (2, 5)


async def test_a_curve_has_no_more_points_than_can_be_looked_at() -> None:
    arena, watch = watched(**{f"c{index}": 0.5 for index in range(300)})
    watch.budget = 6000
    await arena.measure([candidate("seed", "")], CASES)
    for index in range(300):
        await arena.measure([candidate(f"c{index}")], CASES)
    assert 50 <= len(watch.points) <= POINTS + 1


def test_no_end_is_told_before_enough_has_run() -> None:
    assert seconds_left(100, 9, 60.0, None) is None
    assert seconds_left(100, 50, 4.0, None) is None
    assert seconds_left(100, 50, 10.0, None) == pytest.approx(20.0)
    assert seconds_left(100, 50, 10.0, 7.0) == 7.0
    assert seconds_left(100, 50, 10.0, -7.0) == 0.0


async def test_a_search_tells_its_generation_its_leader_and_what_was_accepted_and_keeps_it() -> None:
    world = small_world()
    world.clock.tick_seconds = 0.2
    order = StartEvolution(
        evolution_id="evo-1",
        pipeline="tweets",
        dataset_id="tweets3",
        evaluations=400,
        strategy="genetic",
        population=8,
        generations=3,
    )
    await start_evolution(order, world.evolution)
    told = [fact for fact in world.announcer.facts.values() if isinstance(fact, EvolutionProgressed)]
    searching = [fact for fact in told if fact.stage == "search"]
    assert {fact.generation for fact in searching} >= {1, 2, 3} and {fact.generations for fact in searching} == {3}
    assert any(fact.operator and fact.change for fact in searching)
    assert any(fact.seconds_left is not None for fact in searching)
    assert all(1 <= fact.front <= fact.candidates for fact in searching)
    assert all(fact.done <= fact.evaluations <= 400 and fact.best is not None for fact in searching)
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None and record["progress"]["stage"] == "gate"
    (told_later,) = (await read_lineage(GetLineage(pipeline="tweets"), MongoDescent(world.database)))["evolutions"]
    assert told_later["status"] == "proposed" and told_later["verdict"] is None, "the gate has not spoken"
    assert {row["digest"] for row in told_later["candidates"]} >= {told_later["best_digest"], told_later["seed_digest"]}
    assert record["curve"] and record["curve"][-1]["spent"] <= 400


async def test_the_lineage_of_a_search_that_goes_on_shows_what_it_measured_so_far() -> None:
    world = small_world(crash_after=60)
    world.clock.tick_seconds = 0.5
    order = StartEvolution(evolution_id="evo-1", pipeline="tweets", dataset_id="tweets3", evaluations=300)
    with pytest.raises(RuntimeError, match="killed"):
        await start_evolution(order, world.evolution)
    assert await world.database.collection("candidates").count({}) == 0, "nothing is final yet"
    descent = MongoDescent(world.database)
    (found,) = (await read_lineage(GetLineage(evolution_id="evo-1"), descent))["evolutions"]
    assert (found["status"], found["verdict"], found["left_out"]) == ("searching", None, 0) and found["evaluations"] > 0
    seed, *bred = found["candidates"]
    assert seed["accepted"] and not seed["parent"] and len(bred) > 2
    assert all(row["score"]["cases"] > 0 and row["parent"] and row["operator"] for row in bred)
    assert len(build(None, [found], "tweets").nodes) == len(found["candidates"])
    (few,) = (await read_lineage(GetLineage(evolution_id="evo-1", candidates=2), descent))["evolutions"]
    assert few["candidates"][0]["digest"] == seed["digest"] and few["left_out"] == len(bred) - 1
    shown = await read_evolution(GetEvolution(evolution_id="evo-1"), world.evolution)
    assert [row["digest"] for row in shown["candidates"]] == [row["digest"] for row in found["candidates"]]

    asked = await read_candidate(GetCandidate(digest=bred[0]["digest"][:12]), descent)
    assert (asked["digest"], asked["evolution_id"], asked["pipeline"]) == (bred[0]["digest"], "evo-1", "tweets")
    assert (asked["score"], asked["document"]) == (bred[0]["score"], None)

    await start_evolution(order, world.evolution)
    assert (await read_candidate(GetCandidate(digest=bred[0]["digest"]), descent))["document"] is not None
    (whole,) = (await read_lineage(GetLineage(evolution_id="evo-1", candidates=1000), descent))["evolutions"]
    assert {row["digest"] for row in whole["candidates"]} > {row["digest"] for row in found["candidates"]}
    assert await world.database.collection("candidates_so_far").count({}) == 0


async def test_of_many_candidates_those_that_were_taken_on_and_the_latest_are_told() -> None:
    names = [f"c{number}" for number in range(MOST_SO_FAR + 50)]
    arena, watch = watched(**dict.fromkeys(names, 0.1), good=0.9)
    await arena.measure([candidate("seed", ""), candidate("good")], CASES)
    await arena.measure([candidate(name) for name in names], CASES)
    rows, left_out = rows_so_far(watch, "h")
    assert len(rows) == MOST_SO_FAR and left_out == 52
    assert [row["digest"] for row in rows[:3]] == ["seed", "good", "c52"] and rows[-1]["digest"] == names[-1]
    assert [row["digest"] for row in rows if row["accepted"]] == ["seed", "good"]


async def test_a_model_that_gives_no_rewrite_is_told_and_the_others_go_on() -> None:
    world = small_world()  # every rewrite fails there
    order = StartEvolution(evolution_id="evo-1", pipeline="tweets", dataset_id="tweets3", evaluations=300, strategy="climb")
    await start_evolution(order, world.evolution)
    record = await world.evolution.evolutions.get("evo-1")
    assert record is not None and record["pending"]["candidates"] > 3
    (told,) = [reason for reason in record["pending"]["reasons"] if "no usable rewrite" in reason]
    asked = int(told.split(" of ")[1].split()[0])
    assert told.startswith(f"the model gave no usable rewrite {asked} of {asked} times") and 1 <= asked <= world.evolution.rewrites


async def test_who_joins_gets_the_same_end_and_the_work_stops_with_the_last_one() -> None:
    under_way, begun, cancelled = UnderWay(), 0, 0
    go = asyncio.Event()

    async def work() -> Effects:
        nonlocal begun, cancelled
        begun += 1
        try:
            await go.wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return []

    first, second = (asyncio.create_task(under_way.join("k", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (begun, cancelled) == (1, 0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert (begun, cancelled) == (1, 1)
    go.set()
    assert await under_way.join("k", work) == [] and begun == 2


async def test_the_front_is_sorted_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    sort = Watch.front_size

    def noted(watch: Watch) -> int:
        threads.append(threading.get_ident())
        return sort(watch)

    monkeypatch.setattr(Watch, "front_size", noted)
    world = small_world()
    world.clock.tick_seconds = 0.2
    await start_evolution(
        StartEvolution(evolution_id="evo-1", pipeline="tweets", dataset_id="tweets3", evaluations=200), world.evolution
    )
    assert threads and threading.get_ident() not in threads
