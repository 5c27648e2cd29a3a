"""The specification's genetic algorithm: population 50, mutation rate 0.1 a gene, crossover rate 0.7, elite 5, tournaments.

Individuals race: few cases for all, those first that tell most, and more for the better half after each rung. Every generation
meets cases that the elite has not met, so nobody lives on a frozen lucky score. Mating stays on islands, from which the best
migrate around a ring."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from shared.search.candidates import Archive, Candidate, Entry, SearchResult
from shared.search.fitness import case_means, fitness
from shared.search.novelty import Novelty
from shared.search.strategies.breeding import Breeding
from shared.search.strategies.islands import migrated, shares
from shared.search.strategies.racing import Race
from shared.search.strategies.strategy import Arena, Proposer, SearchOverError
from shared.search.watching import note_generation

_SMALLEST_ISLAND = 8
_FILL_TRIES = 6


@dataclass(frozen=True)
class Genetic:
    population: int = 50
    generations: int = 5
    mutation_rate: float = 0.1
    """A gene."""
    crossover_rate: float = 0.7
    elite: int = 5
    tournament: int = 3
    rungs: tuple[int, ...] = (4, 7, 10, 13, 32)
    """Cases that an individual has met after each rung of a race."""
    survivors: float = 0.5
    """Share that goes on to the next rung."""
    panel: float = 0.06
    """Share that meets all cases first, so that the others meet those first that tell most."""
    islands: int = 2
    """At most; fewer where each would have less than 8 individuals."""
    migration_every: int = 2
    """Generations between migrations."""
    migrants: int = 1
    """Of each island, to the next one."""
    similarity: float = 0.99
    """Texts that are more alike than this are not measured twice."""
    name: str = "genetic"

    async def search(self, seed: Candidate, cases: Sequence[str], arena: Arena, proposer: Proposer, number: int) -> SearchResult:
        size = self.affordable(arena.remaining)
        life = _Life(self, size, cases, arena, proposer, random.Random(f"genetic:{number}"))  # noqa: S311
        reasons = [] if size == self.population else [f"population {size} instead of {self.population}: the budget races no more"]
        try:
            await life.start(seed)
            for generation in range(self.generations):
                note_generation(arena, generation + 1, self.generations)
                await life.race(generation)
                if generation + 1 < self.generations:  # nobody would measure the children of the last one
                    await life.breed(generation)
            reasons.append(f"{self.generations} generations")
        except SearchOverError as over:
            reasons.append(str(over))
        return life.result(tuple(reasons))

    def affordable(self, budget: int) -> int:
        """The largest population, up to the wanted one, whose generations fit the budget; at least 4."""
        return min(self.population, max(4, int(budget // (self.generations * self.race.cost))))

    @property
    def race(self) -> Race:
        return Race(self.rungs, self.survivors, self.panel)

    def islands_of(self, size: int) -> int:
        return max(1, min(self.islands, size // _SMALLEST_ISLAND))


@dataclass
class _Life:
    """State of one search."""

    genetic: Genetic
    size: int
    cases: Sequence[str]
    arena: Arena
    proposer: Proposer
    random: random.Random
    archive: Archive = field(default_factory=Archive)
    islands: list[list[Entry]] = field(default_factory=list)
    """The present generation, island by island, fittest first after a race."""

    def __post_init__(self) -> None:
        self.novelty = Novelty(self.genetic.similarity)
        self.breeding = Breeding(self.proposer, self.random, self.genetic.crossover_rate, self.genetic.mutation_rate)
        self.sizes = shares(self.size, self.genetic.islands_of(self.size))
        self.elites = shares(min(self.genetic.elite, max(1, self.size // 4)), len(self.sizes))

    @property
    def people(self) -> list[Entry]:
        """Everybody once: a migrant lives on two islands."""
        return list({entry.candidate.digest: entry for island in self.islands for entry in island}.values())

    async def start(self, seed: Candidate) -> None:
        self.seed = self.archive.add(seed)
        self.seed.accepted = True
        self.novelty.add(seed)
        self.islands = [[self.seed] for _ in self.sizes]
        for island, size in zip(self.islands, self.sizes, strict=True):
            await self._fill(island, size, lambda: self.breeding.mutant(self.seed, at_least=1))

    async def race(self, generation: int) -> None:
        """Measures the generation rung by rung on its own window of cases and sorts it."""
        window = self._window(generation)
        await self.genetic.race.run(self.people, window, self.arena, self._by_fitness)
        self.islands = [self._by_fitness(island) for island in self.islands]
        for entry in self._elite():
            entry.accepted = True

    async def breed(self, generation: int) -> None:
        """Elites stay, the rest of each island are children of those that live on it."""
        if (generation + 1) % self.genetic.migration_every == 0:
            self.islands = [self._by_fitness(island) for island in migrated(self.islands, self.genetic.migrants)]
        parents = self.islands
        self.islands = [island[: max(1, elite)] for island, elite in zip(parents, self.elites, strict=True)]
        for island, living, size in zip(self.islands, parents, self.sizes, strict=True):
            await self._fill(island, size, partial(self._child, living))

    async def _child(self, living: Sequence[Entry]) -> Candidate | None:
        return await self.breeding.offspring(self._tournament(living), self._tournament(living))

    async def _fill(self, island: list[Entry], size: int, make: Callable[[], Awaitable[Candidate | None]]) -> None:
        for _ in range(_FILL_TRIES * size):
            if len(island) >= size:
                return
            child = await make()
            if child is not None and self.novelty.is_new(child):
                self.novelty.add(child)
                island.append(self.archive.add(child))

    def _window(self, generation: int) -> list[str]:
        """Cases of this generation's race: those first that the fewest of the elite have met."""
        start = (generation * self.genetic.rungs[-1]) % max(1, len(self.cases))
        turned = [*self.cases[start:], *self.cases[:start]]
        elite = self._elite() if generation else []
        turned.sort(key=lambda case: sum(case in entry.grades for entry in elite))
        return turned[: self.genetic.rungs[-1]]

    def _elite(self) -> list[Entry]:
        return [entry for island, elite in zip(self.islands, self.elites, strict=True) for entry in island[: max(1, elite)]]

    def _tournament(self, parents: Sequence[Entry]) -> Entry:
        drawn = [self.random.randrange(len(parents)) for _ in range(self.genetic.tournament)]
        return parents[min(drawn)]

    def _by_fitness(self, entries: Sequence[Entry]) -> list[Entry]:
        usual = case_means(self.archive.entries)
        return sorted(entries, key=lambda entry: -fitness(entry, usual))

    def result(self, reasons: tuple[str, ...]) -> SearchResult:
        measured = [entry for entry in self.archive.entries if entry.grades and entry is not self.seed]
        ranked = self._by_fitness(measured)
        if self.novelty.near_copies:
            reasons = (*reasons, f"{self.novelty.near_copies} near copies were not measured")
        return SearchResult(self.archive, tuple(entry.candidate.digest for entry in ranked), reasons)
