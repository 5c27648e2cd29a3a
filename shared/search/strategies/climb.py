"""Climb: one parent from the Pareto front over cases, one operator, a paired minibatch, accept if better.

Permissive on purpose: no significance test inside the loop. Lucky candidates are the finalists' and the gate's business."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.search.candidates import Archive, Candidate, Entry, SearchResult
from shared.search.strategies.bandit import OperatorBandit
from shared.search.strategies.strategy import Arena, Proposer, SearchOverError
from shared.search.watching import note_accepted


@dataclass(frozen=True)
class Climb:
    minibatch: int = 8
    """Cases of the first look at a child; twice as many before it is accepted."""
    home_share: float = 0.03
    """Part of the budget that one accepted candidate may cost: sets how many cases the pool is compared on."""
    greed: float = 0.5
    """How often the parent is simply the best so far instead of a draw from the front."""
    fruitless_limit: int = 60
    """Proposals in a row that were nothing new: the space is exhausted."""
    name: str = "climb"

    async def search(self, seed: Candidate, cases: Sequence[str], arena: Arena, proposer: Proposer, number: int) -> SearchResult:
        walk = _Walk(self, _home(cases, arena.remaining, self), arena, proposer, random.Random(f"climb:{number}"))  # noqa: S311
        try:
            await walk.start(seed)
            while await walk.step():
                pass
            reason = f"nothing new in {self.fruitless_limit} proposals"
        except SearchOverError as over:
            reason = str(over)
        return walk.result(reason)


def _home(cases: Sequence[str], budget: int, climb: Climb) -> tuple[str, ...]:
    size = max(2 * climb.minibatch, round(budget * climb.home_share))
    return tuple(cases[:size])


@dataclass
class _Walk:
    """State of one search."""

    climb: Climb
    home: tuple[str, ...]
    """Cases that every accepted candidate is measured on."""
    arena: Arena
    proposer: Proposer
    random: random.Random
    archive: Archive = field(default_factory=Archive)
    pool: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bandit = OperatorBandit(self.proposer.operators)

    async def start(self, seed: Candidate) -> None:
        entry = self.archive.add(seed)
        await self._measure(entry, self.home)
        entry.accepted = True
        self.pool.append(entry)

    async def step(self) -> bool:
        """One child, measured and judged. False where nothing new is left to propose."""
        parent = self._parent()
        child = await self._child(parent)
        if child is None:
            return False
        entry = self.archive.add(child)
        try:
            looked = await self._look(entry, parent, self.random.sample(self.home, len(self.home)))
        except SearchOverError:
            if entry.grades and entry.mean > parent.mean_on(tuple(entry.grades)):
                self._accept(entry)  # the finals still get to judge what was ahead when the budget ended
            raise
        gain = entry.mean - parent.mean_on(looked)
        self.bandit.reward(child.operator, gain, len(looked) / (2 * self.climb.minibatch))
        if gain > 0:
            self._accept(entry)
            await self._measure(entry, self.home)
        return True

    def _accept(self, entry: Entry) -> None:
        entry.accepted = True
        note_accepted(self.arena, entry.candidate)
        self.pool.append(entry)

    async def _look(self, entry: Entry, parent: Entry, order: Sequence[str]) -> Sequence[str]:
        """Measures the child on one minibatch, and on another unless it is already behind; the cases that it saw."""
        first, both = order[: self.climb.minibatch], order[: 2 * self.climb.minibatch]
        await self._measure(entry, first)
        if entry.mean < parent.mean_on(first):
            return first
        await self._measure(entry, both)
        return both

    async def _child(self, parent: Entry) -> Candidate | None:
        useless: set[str] = set()
        mates = tuple(entry.candidate for entry in self.pool if entry is not parent)
        for attempt in range(self.climb.fruitless_limit):
            operator = self.bandit.choose(self.random, frozenset(useless))
            if operator is None:
                useless.clear()
                parent = self.pool[attempt % len(self.pool)]
                continue
            child = await self.proposer.propose(operator, parent, mates, self.random)
            if child is not None and child.digest not in self.archive:
                return child
            if child is None:
                useless.add(operator)
        return None

    def _parent(self) -> Entry:
        """The best so far, or a draw from the front: how often a candidate is among the best of a case is its chance."""
        if self.random.random() < self.climb.greed:
            return max(self.pool, key=lambda entry: entry.mean)
        weights = [0] * len(self.pool)
        for case in self.home:
            grades = [entry.grades.get(case) or 0.0 for entry in self.pool]
            best = max(grades)
            if min(grades) < best:
                weights = [weight + (grade == best) for weight, grade in zip(weights, grades, strict=True)]
        return self.random.choices(self.pool, weights)[0] if any(weights) else self.random.choice(self.pool)

    async def _measure(self, entry: Entry, cases: Sequence[str]) -> None:
        (grades,) = await self.arena.measure([entry.candidate], cases)
        entry.add(cases, grades)

    def result(self, reason: str) -> SearchResult:
        ranked = sorted(self.pool[1:], key=lambda entry: -entry.mean)
        return SearchResult(self.archive, tuple(entry.candidate.digest for entry in ranked), (reason,))
