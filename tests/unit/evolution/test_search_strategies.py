from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from shared.evidence.paired import paired_test
from shared.search.candidates import Candidate, SearchResult
from shared.search.strategies import Climb, FinalRound, Genetic, Guided, Strategy, run_finals
from shared.search.strategies.bandit import OperatorBandit
from tests.fakes.landscapes import (
    GeneProposer,
    Landscape,
    LandscapeArena,
    additive,
    candidate,
    deceptive,
    epistatic,
    flat,
    genes_of,
)

SEARCH = [f"search-{index}" for index in range(100)]
FRESH = [f"fresh-{index}" for index in range(100)]


async def search(landscape: Landscape, strategy: Strategy, budget: int, number: int) -> tuple[SearchResult, LandscapeArena]:
    arena = LandscapeArena(landscape, budget)
    cases = [f"{number}-{case}" for case in SEARCH]
    return await strategy.search(landscape.seed(), cases, arena, GeneProposer(landscape), number), arena


async def confirm(landscape: Landscape, found: SearchResult, number: int, budget: int) -> FinalRound:
    chosen = [found.archive[digest].candidate for digest in found.ranking[:3]]
    fresh = [f"{number}-{case}" for case in FRESH]
    return await run_finals(landscape.seed(), chosen, fresh, LandscapeArena(landscape, budget), budget)


async def found_quality(landscape: Landscape, strategy: Strategy, budget: int, number: int) -> float:
    found, _ = await search(landscape, strategy, round(budget * 0.65), number)
    finals = await confirm(landscape, found, number, round(budget * 0.35))
    return landscape.quality(genes_of(finals.best.candidate if finals.best else landscape.seed()))


@pytest.mark.parametrize("strategy", [Climb(), Genetic(), Guided()], ids=["climb", "genetic", "guided"])
@pytest.mark.parametrize("landscape", [additive(), epistatic(), deceptive()], ids=lambda landscape: landscape.name)
async def test_search_finds_truly_better_candidates(landscape: Landscape, strategy: Strategy) -> None:
    found = [await found_quality(landscape, strategy, 1500, number) for number in range(12)]
    assert sum(found) / len(found) >= 0.45 + 0.03


@pytest.mark.parametrize("flip", [1.0, 0.3, 0.15])
async def test_where_nothing_helps_almost_nothing_is_certified(flip: float) -> None:
    landscape = flat(flip=flip)
    shipped = 0
    for number in range(200):
        found, _ = await search(landscape, Climb(), 130, number)
        finals = await confirm(landscape, found, number, 70)
        if finals.best is None:
            continue
        sealed = [f"sealed-{number}-{index}" for index in range(100)]
        ours = [landscape.grade(genes_of(finals.best.candidate), case) for case in sealed]
        theirs = [landscape.grade(genes_of(landscape.seed()), case) for case in sealed]
        shipped += paired_test(ours, theirs, 0.05).p_value_better <= 0.05
    assert shipped / 200 <= 0.08


@pytest.mark.parametrize("strategy", [Climb(), Genetic()], ids=["climb", "genetic"])
async def test_the_same_seed_gives_the_same_archive_and_another_seed_another(strategy: Strategy) -> None:
    first, _ = await search(additive(), strategy, 300, 5)
    again, _ = await search(additive(), strategy, 300, 5)
    other, _ = await search(additive(), strategy, 300, 6)
    assert first.archive.digest() == again.archive.digest()
    assert first.archive.digest() != other.archive.digest()
    assert first.ranking == again.ranking


@pytest.mark.parametrize("strategy", [Climb(), Genetic()], ids=["climb", "genetic"])
@pytest.mark.parametrize("budget", [1, 16, 48, 200])
async def test_the_budget_ends_the_search_and_is_never_passed(strategy: Strategy, budget: int) -> None:
    found, arena = await search(additive(), strategy, budget, 1)
    assert arena.spent <= budget
    assert any("budget" in reason for reason in found.reasons)


async def test_what_was_better_when_the_budget_ended_goes_into_the_finals() -> None:
    promising = 0
    for budget in range(40, 240, 3):
        found, _ = await search(additive(), Climb(), budget, 1)
        last = found.archive.entries[-1]
        parent = found.archive[last.candidate.parent] if last.candidate.parent else None
        if parent and last.grades and last.mean > parent.mean_on(list(last.grades)):
            promising += 1
            assert last.candidate.digest in found.ranking, budget
    assert promising >= 1


class BarrenProposer(GeneProposer):
    async def propose(self, *_: object) -> Candidate | None:
        return None


@pytest.mark.parametrize("strategy", [Climb(), Genetic(generations=2)], ids=["climb", "genetic"])
async def test_operators_that_offer_nothing_end_the_search_instead_of_looping(strategy: Strategy) -> None:
    landscape = additive()
    found = await strategy.search(landscape.seed(), SEARCH, LandscapeArena(landscape, 500), BarrenProposer(landscape), 1)
    assert len(found.archive) == 1
    assert found.ranking == ()


async def test_a_generation_of_fifty_costs_less_than_a_third_of_measuring_it_fully() -> None:
    landscape = additive()
    arena = LandscapeArena(landscape, 100_000)
    strategy = Genetic(generations=1)
    await strategy.search(landscape.seed(), SEARCH, arena, GeneProposer(landscape), 1)
    assert arena.spent <= 0.3 * strategy.population * strategy.rungs[-1]


async def test_racing_seldom_loses_the_best_individual() -> None:
    born = kept = 0
    for number in range(40):
        landscape = Landscape(f"one-good-{number}", lambda genes: 0.85 if genes[0] == 1 else 0.45, genes=6)
        found, _ = await search(landscape, Genetic(generations=2, population=20), 4000, number)
        if any(genes_of(entry.candidate)[0] == 1 for entry in found.archive.entries if entry.grades):
            born += 1
            kept += genes_of(found.archive[found.ranking[0]].candidate)[0] == 1
    assert born >= 20
    assert kept / born >= 0.95


async def test_elites_are_measured_again_on_other_cases() -> None:
    found, _ = await search(additive(), Genetic(generations=4, population=12), 5000, 2)
    assert max(len(entry.grades) for entry in found.archive.entries) > max(Genetic().rungs)


async def test_a_budget_for_fewer_individuals_is_told() -> None:
    found, _ = await search(additive(), Genetic(), 300, 2)
    assert any("population" in reason for reason in found.reasons)


async def test_finalists_meet_the_same_fresh_cases_as_the_seed() -> None:
    landscape = additive()
    rivals = [candidate(genes) for genes in ((1,) * 4 + (0,) * 8, (2,) * 4 + (0,) * 8, (0,) * 11 + (1,))]
    arena = LandscapeArena(landscape, 200)
    finals = await run_finals(landscape.seed(), rivals, FRESH, arena, 200)
    assert finals.best is not None and finals.best.candidate == rivals[0]
    assert set(finals.best.grades) <= set(finals.seed.grades)
    assert len(finals.best.grades) > min(len(entry.grades) for entry in finals.finalists)
    assert arena.spent <= 200


async def test_nobody_wins_who_does_not_beat_the_seed() -> None:
    landscape = flat(level=1.0)
    finals = await run_finals(landscape.seed(), [candidate((1,) * 12)], FRESH, LandscapeArena(landscape, 50), 50)
    assert finals.best is None


def chosen(bandit: OperatorBandit, times: int, generator: random.Random) -> Sequence[str | None]:
    return [bandit.choose(generator) for _ in range(times)]


def test_bandit_comes_to_prefer_what_gains_and_forgets_again() -> None:
    bandit, generator = OperatorBandit({"good": 1.0, "bad": 1.0}, discount=0.9), random.Random(1)
    for _ in range(30):
        bandit.reward("good", 0.3)
        bandit.reward("bad", 0.0)
    assert chosen(bandit, 200, generator).count("good") > 150
    for _ in range(60):
        bandit.reward("good", 0.0)
        bandit.reward("bad", 0.3)
    assert chosen(bandit, 200, generator).count("bad") > 150
    assert bandit.choose(generator, frozenset(("good", "bad"))) is None


async def test_every_child_of_the_genetic_algorithm_is_measured_where_the_budget_suffices() -> None:
    """Children of the last generation would cost a model its answers and be in nobody's way."""
    found, _ = await search(additive(), Genetic(generations=2, population=12), 5000, 2)
    assert len(found.archive) > 12 and all(entry.grades for entry in found.archive.entries)
