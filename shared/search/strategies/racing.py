"""A race: few cases for all, more for those that lead after each rung. Successive halving (Jamieson and Talwalkar 2016), by fifths.

Measured in `bench/results/racing.md`: what it costs and how often it loses the truly best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.search.candidates import Entry
from shared.search.strategies.strategy import Arena

Ranked = Callable[[Sequence[Entry]], Sequence[Entry]]
"""Fittest first."""


@dataclass(frozen=True)
class Race:
    rungs: tuple[int, ...]
    """Cases that an individual has met after each rung."""
    survivors: float
    """Share that goes on to the next rung; at least one does."""

    @property
    def cost(self) -> float:
        """Evaluations that an individual of a large population costs on average."""
        met = (0, *self.rungs)
        return sum((rung - met[index]) * self.survivors**index for index, rung in enumerate(self.rungs))

    async def run(self, entries: Sequence[Entry], window: Sequence[str], arena: Arena, ranked: Ranked) -> None:
        """Measures entries on the window, rung by rung. All that are still running meet the same cases."""
        running, met = list(entries), 0
        for rung in (*(size for size in self.rungs if size < len(window)), len(window)):
            chosen = window[met:rung]
            rows = await arena.measure([entry.candidate for entry in running], chosen)
            for entry, row in zip(running, rows, strict=True):
                entry.add(chosen, row)
            met = rung
            running = list(ranked(running))[: max(1, round(len(running) * self.survivors))]
