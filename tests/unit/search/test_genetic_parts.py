"""Islands, novelty, fitness over different cases: the parts of the genetic algorithm."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.search.candidates import Candidate, Entry
from shared.search.fitness import case_means, fitness
from shared.search.novelty import Novelty
from shared.search.strategies import Genetic
from shared.search.strategies.breeding import Breeding
from shared.search.strategies.islands import migrated, shares
from shared.search.strategies.racing import Race
from shared.search.texts import text_candidate
from tests.fakes.evolution_world import seed_document
from tests.fakes.landscapes import GeneProposer, LandscapeArena, additive, candidate, genes_of

CASES = [f"case-{index}" for index in range(160)]


def entry(name: str, **grades: float) -> Entry:
    return Entry(Candidate(name, {}), grades=dict(grades))


def names(island: list[Entry]) -> list[str]:
    return [one.candidate.digest for one in island]


def test_the_best_of_each_island_replaces_the_least_fit_of_the_next_around_the_ring() -> None:
    islands = [[entry(f"{island}{rank}") for rank in range(3)] for island in "abc"]
    assert [names(one) for one in migrated(islands, 1)] == [["a0", "a1", "c0"], ["b0", "b1", "a0"], ["c0", "c1", "b0"]]
    assert [names(one) for one in migrated(islands[:1], 1)] == [["a0", "a1", "a2"]]
    same = entry("a0")
    assert names(migrated([[same, entry("x")], [same, entry("y")]], 1)[1]) == ["a0", "y"], "who lives there does not come twice"


@given(st.integers(0, 200), st.integers(1, 9))
def test_shares_add_up_and_differ_by_one_at_most(total: int, parts: int) -> None:
    found = shares(total, parts)
    assert sum(found) == total and len(found) == parts and max(found) - min(found) <= 1


async def test_mating_stays_on_islands_until_the_best_migrate() -> None:
    landscape = additive()
    pairs: list[tuple[str, str]] = []

    class Watching(GeneProposer):
        async def propose(self, operator, parent, mates, generator):  # type: ignore[no-untyped-def]
            pairs.extend((parent.candidate.digest, candidate(genes_of(mate)).digest) for mate in mates)
            return await super().propose(operator, parent, mates, generator)

    async def across(migration_every: int) -> int:
        """How many pairs come from different islands."""
        pairs.clear()
        strategy = Genetic(population=32, islands=4, generations=4, migration_every=migration_every)
        arena = LandscapeArena(landscape, 100_000)
        found = await strategy.search(landscape.seed(), CASES, arena, Watching(landscape), 3)
        seed, *born = found.archive.entries
        home = {one.candidate.digest: index // 7 for index, one in enumerate(born[:28])}
        for one in born[28:]:
            home[one.candidate.digest] = home.get(one.candidate.parent, -1)
        known = [(home.get(one, -1), home.get(other, -1)) for one, other in pairs]
        assert seed.candidate.digest not in home and known
        return sum(-1 not in pair and pair[0] != pair[1] for pair in known)

    assert await across(migration_every=100) == 0
    assert await across(migration_every=1) > 0
    assert (Genetic(islands=4).islands_of(32), Genetic(islands=4).islands_of(15)) == (4, 1)


def test_a_near_copy_is_not_new_and_other_numbers_labels_or_words_are() -> None:
    novelty = Novelty()
    text = (
        "Decide how the writer of this message feels about the thing that it speaks of. Judge the whole text and not single words."
    )
    first = text_candidate({"prompt": text})
    novelty.add(first)
    assert not novelty.is_new(first) and novelty.near_copies == 0
    assert not novelty.is_new(text_candidate({"prompt": text + " "})) and novelty.near_copies == 1
    assert novelty.is_new(text_candidate({"prompt": text + " Mind irony."}))
    assert novelty.is_new(text_candidate({"prompt": text, "style": "x"}))
    document = seed_document()
    novelty.add(Candidate("seed", document))
    warmer = seed_document(steps=[{**document["steps"][0], "temperature": 0.3}])
    assert novelty.is_new(Candidate("warmer", warmer))
    schema = {"type": "object", "properties": {"label": {"enum": ["positive", "neutral", "negative"]}}}
    assert novelty.is_new(Candidate("other order", seed_document(steps=[{**document["steps"][0], "schema": schema}])))


class AllRight:
    """An arena in which every answer is right."""

    remaining = 5000

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        return [[1.0] * len(cases) for _ in candidates]


async def test_near_copies_cost_no_evaluation_and_are_told() -> None:
    long = "A long instruction that says what is to be done. " * 8

    class Copying(GeneProposer):
        async def propose(self, operator, parent, mates, generator):  # type: ignore[no-untyped-def]
            return text_candidate({"prompt": long + "." * generator.randrange(1, 3)}, "s", operator)

    found = await Genetic(population=8, generations=2).search(
        text_candidate({"prompt": long}), CASES, AllRight(), Copying(additive()), 1
    )
    assert len(found.archive) == 1 and any("near copies" in reason for reason in found.reasons)


def test_who_met_easy_cases_is_not_fitter_than_who_did_better_on_hard_ones() -> None:
    usual = [entry(f"u{index}", easy1=1.0, easy2=1.0, hard1=0.0, hard2=0.0) for index in range(5)]
    lucky, able = entry("lucky", easy1=1.0, easy2=1.0), entry("able", hard1=1.0, hard2=0.0)
    means = case_means([*usual, lucky, able])
    assert lucky.mean > able.mean and fitness(able, means) > fitness(lucky, means)
    assert case_means([]) == {}


def test_a_race_costs_what_its_rungs_say() -> None:
    assert Race((4, 8, 16, 32), 1 / 3).cost == pytest.approx(4 + 4 / 3 + 8 / 9 + 16 / 27)
    assert Race((4, 8), 0.5, 0.1).cost == pytest.approx(0.1 * 8 + 0.9 * (4 + 2))
    assert Genetic().race.cost <= 0.3 * Genetic().rungs[-1]


class Watched:
    """An arena in which the last digit of a case is how many of the individuals solve it; `x`: it failed for all."""

    remaining = 1_000_000

    def __init__(self) -> None:
        self.met: list[tuple[list[str], list[str]]] = []

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        self.met.append(([one.digest for one in candidates], list(cases)))
        return [
            [None if case.endswith("x") else float(index < int(case[-1])) for case in cases] for index in range(len(candidates))
        ]


async def test_a_panel_meets_all_cases_and_the_others_those_first_that_a_third_of_it_solved() -> None:
    arena, entries = Watched(), [entry(f"{index}") for index in range(30)]
    window = ["a3", "b0", "c1", "dx", "e2"]
    await Race((2, 4, 5), 0.5, 0.1).run(entries, window, arena, list)
    everyone = [one.candidate.digest for one in entries]
    assert arena.met == [
        (everyone[:3], window),
        (everyone[3:], ["c1", "b0"]),
        (everyone[3:17], ["dx", "e2"]),
        (everyone[3:10], ["a3"]),
    ]


async def test_a_race_of_few_has_no_panel() -> None:
    arena, entries = Watched(), [entry(f"{index}") for index in range(9)]
    await Race((1, 2), 0.5, 0.1).run(entries, ["a1", "b0"], arena, list)
    assert [cases for _, cases in arena.met] == [["a1"], ["b0"]]


async def test_elites_meet_cases_that_they_have_not_met_in_every_generation() -> None:
    landscape = additive()
    arena = LandscapeArena(landscape, 100_000)
    strategy = Genetic(population=16, generations=4)
    found = await strategy.search(landscape.seed(), CASES, arena, GeneProposer(landscape), 2)
    longest = max(len(one.grades) for one in found.archive.entries if one.accepted)
    assert longest >= strategy.rungs[-1] + strategy.rungs[0]


async def test_nobody_is_asked_about_an_unmeasured_child() -> None:
    class Costly(GeneProposer):
        @property
        def costly(self) -> frozenset[str]:
            return frozenset({"gene_00"})

        async def propose(self, operator, parent, mates, generator):  # type: ignore[no-untyped-def]
            assert operator != "gene_00" or parent.grades, "an unmeasured parent has no failures to learn from"
            return await super().propose(operator, parent, mates, generator)

    landscape = additive()
    parent, other = (
        Entry(landscape.seed(), grades={"case-1": 1.0}),
        Entry(Candidate("o", {"genes": [1] * 12}), grades={"case-1": 1.0}),
    )
    breeding = Breeding(Costly(landscape), random.Random(1), crossover_rate=0.7, mutation_rate=0.5)
    children = [await breeding.offspring(parent, other) for _ in range(60)]
    assert {one.parent for one in children if one is not None} <= {parent.candidate.digest, other.candidate.digest}
