"""The specification's genetic algorithm: population 50, mutation rate 0.1 a gene, crossover rate 0.7, elite 5, tournaments.

Individuals race: few cases for all, four times as many for each surviving third. Every generation meets other cases, and the elite
meets them too, so nobody lives on a frozen lucky score."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from shared.search.candidates import Archive, Candidate, Entry, SearchResult
from shared.search.genome import prompted_steps, steps_of
from shared.search.strategies.strategy import Arena, Proposer, SearchOverError
from shared.search.watching import note_generation

CROSSOVER = "crossover"
_GENES_A_STEP = 6
"""Instruction, label order, examples, prompt order, type, numbers."""
_RACE_COST = 7
"""Evaluations an individual costs on average in a race with the default rungs."""


@dataclass(frozen=True)
class Genetic:
    population: int = 50
    generations: int = 5
    mutation_rate: float = 0.1
    """A gene."""
    crossover_rate: float = 0.7
    elite: int = 5
    tournament: int = 3
    rungs: tuple[int, ...] = (4, 8, 16, 32)
    """Cases that an individual has met after each rung of a race."""
    survivors: float = 1 / 3
    """Share that goes on to the next rung."""
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
                await life.breed()
            reasons.append(f"{self.generations} generations")
        except SearchOverError as over:
            reasons.append(str(over))
        return life.result(tuple(reasons))

    def affordable(self, budget: int) -> int:
        """The largest population, up to the wanted one, whose generations fit the budget; at least 4."""
        return min(self.population, max(4, budget // (self.generations * _RACE_COST)))


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
    people: list[Entry] = field(default_factory=list)
    """The present generation, fittest first after a race."""

    async def start(self, seed: Candidate) -> None:
        self.seed = self.archive.add(seed)
        self.seed.accepted = True
        self.people = [self.seed]
        await self._fill(lambda: self._mutant(self.seed, at_least=1))

    async def race(self, generation: int) -> None:
        """Measures the generation rung by rung on its own window of cases and sorts it."""
        window = self._window(generation)
        running, met = list(self.people), 0
        while running and met < len(window):
            rung = next((size for size in self.genetic.rungs if size > met), len(window))
            chosen = window[met:rung]
            rows = await self.arena.measure([entry.candidate for entry in running], chosen)
            for entry, row in zip(running, rows, strict=True):
                entry.add(chosen, row)
            met += len(chosen)
            keep = max(1, round(len(running) * self.genetic.survivors))
            running = self._by_fitness(running)[:keep] if met < self.genetic.rungs[-1] else []
        self.people = self._by_fitness(self.people)
        for entry in self.people[: self.genetic.elite]:
            entry.accepted = True

    async def breed(self) -> None:
        parents = list(self.people)
        self.people = parents[: min(self.genetic.elite, max(1, self.size // 4))]
        await self._fill(lambda: self._offspring(parents))

    def _window(self, generation: int) -> list[str]:
        start = (generation * self.genetic.rungs[0] * 2) % max(1, len(self.cases))
        turned = [*self.cases[start:], *self.cases[:start]]
        return turned[: self.genetic.rungs[-1]]

    async def _fill(self, make: Callable[[], Awaitable[Candidate | None]]) -> None:
        present = {entry.candidate.digest for entry in self.people}
        for _ in range(6 * self.size):
            if len(self.people) >= self.size:
                return
            child = await make()
            if child is not None and child.digest not in present:
                present.add(child.digest)
                self.people.append(self.archive.add(child))

    async def _offspring(self, parents: Sequence[Entry]) -> Candidate | None:
        mother, father = self._tournament(parents), self._tournament(parents)
        if CROSSOVER in self.proposer.operators and self.random.random() < self.genetic.crossover_rate and mother is not father:
            child = await self.proposer.propose(CROSSOVER, mother, (father.candidate.document,), self.random)
            if child is not None:
                return await self._mutant(Entry(child), at_least=0)
        return await self._mutant(mother, at_least=1)

    async def _mutant(self, parent: Entry, at_least: int) -> Candidate | None:
        """Mutates every gene with the mutation rate, one random operator a mutation; None where nothing came of it."""
        genes = _GENES_A_STEP * max(1, len(prompted_steps(parent.candidate.document))) + len(steps_of(parent.candidate.document))
        mutations = max(at_least, sum(self.random.random() < self.genetic.mutation_rate for _ in range(genes)))
        weights = {name: weight for name, weight in sorted(self.proposer.operators.items()) if name != CROSSOVER}
        current = parent
        for _ in range(mutations):
            operator = self.random.choices(list(weights), list(weights.values()))[0]
            child = await self.proposer.propose(operator, current, (), self.random)
            current = Entry(child) if child is not None else current
        return None if current is parent and at_least else current.candidate

    def _tournament(self, parents: Sequence[Entry]) -> Entry:
        drawn = [self.random.randrange(len(parents)) for _ in range(self.genetic.tournament)]
        return parents[min(drawn)]

    def _by_fitness(self, entries: Sequence[Entry]) -> list[Entry]:
        return sorted(entries, key=lambda entry: -entry.shrunk_mean(self._prior()))

    def _prior(self) -> float:
        measured = [entry.mean for entry in self.people if entry.grades]
        return sum(measured) / len(measured) if measured else 0.0

    def result(self, reasons: tuple[str, ...]) -> SearchResult:
        measured = [entry for entry in self.archive.entries if entry.grades and entry is not self.seed]
        ranked = self._by_fitness(measured)
        return SearchResult(self.archive, tuple(entry.candidate.digest for entry in ranked), reasons)
