"""Guided search: few cases a candidate, all candidates' grades pooled by what they have in common, and of many offers that cost
nothing only the one measured that is best in one world that the grades allow.

A candidate with several changes tells about each of them, so that a budget goes much further than one change at a time
(factorial designs: Fisher 1935; surrogate-assisted evolution: Jin 2011; Thompson sampling: Thompson 1933)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from shared.search.candidates import Archive, Candidate, Entry, SearchResult
from shared.search.strategies.strategy import Arena, Proposer, SearchOverError
from shared.search.traits import Traits, leaves_of, traits_of

if TYPE_CHECKING:
    from shared.search.strategies.surrogate import Beliefs, Draw


@dataclass(frozen=True)
class Guided:
    minibatch: int = 4
    """Cases of a new candidate; as many more each time that it seems the best."""
    offers: int = 24
    """Children that are thought of for each that is measured."""
    changes: tuple[int, ...] = (1, 1, 2, 3)
    """How many operators in a row make a child; drawn evenly."""
    confirming: float = 0.3
    """Share of steps that measure the seeming best further instead of a new candidate."""
    parents: int = 6
    home_share: float = 0.06
    """Part of the budget that one candidate may cost at most."""
    fruitless_limit: int = 40
    name: str = "guided"

    async def search(self, seed: Candidate, cases: Sequence[str], arena: Arena, proposer: Proposer, number: int) -> SearchResult:
        size = max(4 * self.minibatch, round(arena.remaining * self.home_share))
        walk = _Walk(self, tuple(cases[:size]), arena, proposer, number)
        try:
            await walk.start(seed)
            while await walk.step():
                pass
            reason = f"nothing new in {self.fruitless_limit} times {self.offers} offers"
        except SearchOverError as over:
            reason = str(over)
        return walk.result(reason)


@dataclass
class _Walk:
    guided: Guided
    home: tuple[str, ...]
    arena: Arena
    proposer: Proposer
    number: int
    archive: Archive = field(default_factory=Archive)
    traits: dict[str, Traits] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import numpy as np  # 20 MB and 0.3 s, for whoever searches this way only

        from shared.search.strategies.surrogate import Measurements

        mark = int.from_bytes(hashlib.sha256(f"guided:{self.number}".encode()).digest()[:8], "big")
        self.random = random.Random(mark)  # noqa: S311 - a reproducible search, no secret
        self.normal = np.random.default_rng(mark)
        self.measured = Measurements()

    async def start(self, seed: Candidate) -> None:
        self.seed = self.archive.add(seed)
        self.seed.accepted = True
        self.seed_leaves = leaves_of(seed.document)
        await self._measure(self.seed, 2 * self.guided.minibatch)

    async def step(self) -> bool:
        """One measurement. False where nothing new is left to propose."""
        draw = self._beliefs().draw(self.normal)
        ranked = self._ranked(draw.values())
        if self.random.random() < self.guided.confirming and await self._measure(ranked[0], self.guided.minibatch):
            return True
        for _ in range(self.guided.fruitless_limit):
            child = await self._offer(draw, ranked[: self.guided.parents])
            if child is not None:
                await self._measure(self.archive.add(child), self.guided.minibatch)
                return True
        return await self._measure(ranked[0], self.guided.minibatch)

    async def _offer(self, draw: Draw, parents: Sequence[Entry]) -> Candidate | None:
        """The most promising of many children that cost nothing, or one that somebody was asked for."""
        if self._asks_outside() and (child := await self._asked(parents)) is not None:
            return child
        best, best_value = None, float("-inf")
        for attempt in range(self.guided.offers):
            parent = parents[0] if attempt == 0 else self.random.choice(parents)
            child = await self._bred(parent, parents)
            if child is not None and (value := draw.value(self._traits(child))) > best_value:
                best, best_value = child, value
        return best

    async def _asked(self, parents: Sequence[Entry]) -> Candidate | None:
        """A model or the caller is asked about the most promising parent, whose failures are known."""
        operator = self.random.choice([name for name in sorted(self.proposer.costly) if self.proposer.operators.get(name)])
        child = await self.proposer.propose(operator, parents[0], (), self.random)
        return child if child is not None and child.digest not in self.archive else None

    def _asks_outside(self) -> bool:
        weights = self.proposer.operators
        return self.random.random() < sum(weights.get(name, 0.0) for name in self.proposer.costly) / sum(weights.values())

    async def _bred(self, parent: Entry, mates: Sequence[Entry]) -> Candidate | None:
        weights = {name: weight for name, weight in sorted(self.proposer.operators.items()) if name not in self.proposer.costly}
        if not weights:
            return None
        others = tuple(entry.candidate for entry in mates if entry is not parent)
        current = parent
        for _ in range(self.random.choice(self.guided.changes)):
            operator = self.random.choices(list(weights), list(weights.values()))[0]
            child = await self.proposer.propose(operator, current, others, self.random)
            current = Entry(_descended(child, parent)) if child is not None else current
        return None if current is parent or current.candidate.digest in self.archive else current.candidate

    def _beliefs(self) -> Beliefs:
        from shared.search.strategies.surrogate import believed

        return believed(self.measured)

    def _ranked(self, values: Any) -> list[Entry]:
        """Measured candidates, the highest value first; `values` by row."""
        digests = list(self.measured.rows)
        return [self.archive[digests[row]] for row in (-values).argsort(kind="stable").tolist()]

    def _traits(self, candidate: Candidate) -> Traits:
        if candidate.digest not in self.traits:
            self.traits[candidate.digest] = traits_of(candidate.document, self.seed_leaves)
        return self.traits[candidate.digest]

    async def _measure(self, entry: Entry, count: int) -> bool:
        """False where it has met all cases."""
        left = [case for case in self.home if case not in entry.grades]
        chosen = self.random.sample(left, min(count, len(left)))
        if chosen:
            (grades,) = await self.arena.measure([entry.candidate], chosen)
            entry.add(chosen, grades)
            self.measured.note(entry.candidate.digest, self._traits(entry.candidate), chosen, grades)
        return bool(chosen)

    def result(self, reason: str) -> SearchResult:
        if not self.measured.rows:
            return SearchResult(self.archive, (), (reason,))
        means = self._beliefs().means()
        usual = means[self.measured.rows[self.seed.candidate.digest]]
        ranked = self._ranked(means)[: int((means > usual).sum())]
        for entry in ranked[: self.guided.parents]:
            entry.accepted = True
        return SearchResult(self.archive, tuple(entry.candidate.digest for entry in ranked), (reason,))


def _descended(child: Candidate, parent: Entry) -> Candidate:
    """Of several changes in a row, the descent is from the one that is in the archive."""
    return replace(child, parent=parent.candidate.digest)
