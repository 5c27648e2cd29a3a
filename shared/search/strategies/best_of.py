"""Best of N: many first mutants of the seed, raced by successive halving. What every other search must beat."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from shared.search.candidates import Archive, Candidate, Entry, SearchResult
from shared.search.strategies.strategy import Arena, Proposer, SearchOverError

_TRIES_EACH = 6


@dataclass(frozen=True)
class BestOf:
    count: int = 32
    """At most; fewer where the budget could not give each its first cases."""
    first_cases: int = 8
    name: str = "best_of"

    async def search(self, seed: Candidate, cases: Sequence[str], arena: Arena, proposer: Proposer, number: int) -> SearchResult:
        archive, generator = Archive(), random.Random(f"best_of:{number}")  # noqa: S311
        start = archive.add(seed)
        start.accepted = True
        size = max(1, min(self.count, arena.remaining // (2 * self.first_cases)))
        drawn = await self._draw(start, size, archive, proposer, generator)
        running, met = [start, *drawn], 0
        reason = f"{len(drawn)} mutants of the seed"
        try:
            while len(running) > 1 and met < len(cases):
                more = cases[met : max(self.first_cases, 2 * met)]
                rows = await arena.measure([entry.candidate for entry in running], more)
                for entry, row in zip(running, rows, strict=True):
                    entry.add(more, row)
                met += len(more)
                challengers = sorted(running[1:], key=lambda entry: -entry.mean)
                running = [start, *challengers[: max(1, len(challengers) // 2)]] if len(challengers) > 1 else []
        except SearchOverError as over:
            reason = f"{reason}; {over}"
        return SearchResult(archive, _ranking(start, drawn), (reason,))

    async def _draw(self, start: Entry, size: int, archive: Archive, proposer: Proposer, generator: random.Random) -> list[Entry]:
        weights = {name: weight for name, weight in sorted(proposer.operators.items()) if weight > 0}
        drawn: list[Entry] = []
        for _ in range(_TRIES_EACH * size):
            if len(drawn) == size:
                break
            operator = generator.choices(list(weights), list(weights.values()))[0]
            child = await proposer.propose(operator, start, (), generator)
            if child is not None and child.digest not in archive:
                drawn.append(archive.add(child))
        return drawn


def _ranking(start: Entry, drawn: Sequence[Entry]) -> tuple[str, ...]:
    """Who survived longest, then the best; only those that beat the seed on the cases that both met."""
    better = [entry for entry in drawn if entry.grades and entry.mean > start.mean_on(tuple(entry.grades))]
    return tuple(entry.candidate.digest for entry in sorted(better, key=lambda entry: (-len(entry.grades), -entry.mean)))
