"""A race: few cases for all, more for those that lead after each rung. Successive halving (Jamieson and Talwalkar 2016).

A panel of a few individuals meets all cases first, and the others meet those first that about a third of it solved. A case that
everybody solves, or that nobody can, tells apart nobody; one that is rather hard tells who is better than most (items are chosen
likewise in adaptive tests: Lord 1980). Measured in `bench/results/racing.md`: what it costs, how often it loses the truly best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.search.candidates import Entry
from shared.search.strategies.strategy import Arena

TELLING = 0.3
"""Mean grade, in the panel, of the cases that come first. Lower: who is best is found a little sooner where all cases can be
solved, and far later where some cannot, which then come first."""

Ranked = Callable[[Sequence[Entry]], Sequence[Entry]]
"""Fittest first."""


@dataclass(frozen=True)
class Race:
    rungs: tuple[int, ...]
    """Cases that an individual has met after each rung."""
    survivors: float
    """Share that goes on to the next rung; at least one does."""
    panel: float = 0.0
    """Share, rounded down, that meets all cases first: the first ones of those who race."""

    @property
    def cost(self) -> float:
        """Evaluations that an individual of a large population costs on average."""
        met = (0, *self.rungs)
        raced = sum((rung - met[index]) * self.survivors**index for index, rung in enumerate(self.rungs))
        return self.panel * self.rungs[-1] + (1 - self.panel) * raced

    async def run(self, entries: Sequence[Entry], window: Sequence[str], arena: Arena, ranked: Ranked) -> None:
        """Measures entries on the window, rung by rung. All that are still running meet the same cases."""
        panel = entries[: math.floor(len(entries) * self.panel)]
        await _meet(panel, window, arena)
        cases, running, met = _most_telling_first(window, panel), list(entries[len(panel) :]), 0
        for rung in (*(size for size in self.rungs if size < len(cases)), len(cases)):
            await _meet(running, cases[met:rung], arena)
            met = rung
            running = list(ranked(running))[: max(1, round(len(running) * self.survivors))]


async def _meet(entries: Sequence[Entry], cases: Sequence[str], arena: Arena) -> None:
    if not entries:
        return
    rows = await arena.measure([entry.candidate for entry in entries], cases)
    for entry, row in zip(entries, rows, strict=True):
        entry.add(cases, row)


def _most_telling_first(window: Sequence[str], panel: Sequence[Entry]) -> list[str]:
    """In the window's order those that tell as much, and all where there is no panel."""

    def distance(case: str) -> float:
        return abs(sum(entry.grades[case] or 0.0 for entry in panel) - TELLING * len(panel))

    return sorted(window, key=distance)
