"""Finalists: successive halving on fresh dev cases, the same cases for all, the seed always among them.

Jamieson and Talwalkar (2016), sequential halving; the rounds share the budget equally."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.search.candidates import Candidate, Entry
from shared.search.strategies.strategy import Arena, KnowsUse

Value = Callable[[Entry, Entry], float]
"""(finalist, seed) -> what it is worth on the cases that the finalist met: the scalar of the final choice."""


@dataclass(frozen=True)
class FinalRound:
    """`best` is None where no finalist is worth more than the seed on the fresh cases that both met."""

    seed: Entry
    best: Entry | None
    finalists: tuple[Entry, ...]
    """Challengers, best first, with their grades on fresh cases only."""

    @property
    def leading(self) -> Entry | None:
        """The best, or the challenger that came nearest to the seed."""
        return self.best or (self.finalists[0] if self.finalists else None)


def mean_grade(entry: Entry, seed: Entry) -> float:
    return entry.mean


async def run_finals(
    seed: Candidate,
    challengers: Sequence[Candidate],
    fresh: Sequence[str],
    arena: Arena,
    evaluations: int,
    value: Value = mean_grade,
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
            _note_use(entry, arena)
        met += len(cases)
        left -= len(cases) * (len(running) + 1)
        running = sorted(running, key=lambda entry: -value(entry, champion))[: max(1, len(running) // 2)]
    ranked = sorted(everyone, key=lambda entry: (-len(entry.grades), -value(entry, champion)))
    best = running[0] if running and met and _beats(running[0], champion, value) else None
    return FinalRound(champion, best, tuple(ranked))


def _beats(entry: Entry, champion: Entry, value: Value) -> bool:
    met = Entry(champion.candidate, uses=champion.uses, faulted=champion.faulted)
    met.grades = {case: champion.grades[case] for case in entry.grades}
    return value(entry, champion) > value(met, champion)


def _note_use(entry: Entry, arena: Arena) -> None:
    if isinstance(arena, KnowsUse):
        known = arena.uses(entry.candidate.digest)
        entry.uses.update((case, known[case]) for case in entry.grades if case in known)
