"""Finalists: successive halving on fresh dev cases, the same cases for all, the seed always among them.

Jamieson and Talwalkar (2016), sequential halving; the rounds share the budget equally."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.search.candidates import Candidate, Entry
from shared.search.strategies.strategy import Arena


@dataclass(frozen=True)
class FinalRound:
    """`best` is None where no finalist beat the seed's mean on the fresh cases that both met."""

    seed: Entry
    best: Entry | None
    finalists: tuple[Entry, ...]
    """Challengers, best first, with their grades on fresh cases only."""


async def run_finals(
    seed: Candidate, challengers: Sequence[Candidate], fresh: Sequence[str], arena: Arena, evaluations: int
) -> FinalRound:
    """Measures on fresh cases within `evaluations`. Raises `SearchOverError` where the first round does not fit the arena."""
    champion = Entry(seed)
    running = [Entry(candidate) for candidate in challengers]
    everyone = tuple(running)
    rounds = max(1, len(running).bit_length())
    left, met = evaluations, 0
    for number in range(rounds):
        if not running:
            break
        share = left // (rounds - number)
        cases = fresh[met : met + share // (len(running) + 1)]
        if not cases:
            break
        rows = await arena.measure([champion.candidate, *(entry.candidate for entry in running)], cases)
        for entry, row in zip((champion, *running), rows, strict=True):
            entry.add(cases, row)
        met += len(cases)
        left -= len(cases) * (len(running) + 1)
        running = sorted(running, key=lambda entry: -entry.mean)[: max(1, len(running) // 2)]
    ranked = sorted(everyone, key=lambda entry: (-len(entry.grades), -entry.mean))
    best = running[0] if running and met and running[0].mean > champion.mean_on(tuple(running[0].grades)) else None
    return FinalRound(champion, best, tuple(ranked))
