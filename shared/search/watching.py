"""What is known of a search while it runs, from its measurements alone: who leads, how far it is, how the gain grew.

A strategy need not know that it is watched. What an arena cannot see, generations and acceptance, it may tell with `note_*`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from shared.evidence.scores import score
from shared.search.candidates import Candidate, Entry

if TYPE_CHECKING:
    from shared.search.strategies.strategy import Arena

POINTS = 60
"""Of the curve of gains, however large the budget."""
MOST_SORTED = 600
_LEVEL = 0.025
"""Of each end of a point's interval: 95% in all."""


@runtime_checkable
class Onlooker(Protocol):
    """An arena that wants to know more than what it is asked to measure."""

    def note_generation(self, number: int, of: int) -> None: ...
    def note_accepted(self, candidate: Candidate) -> None: ...


def note_generation(arena: Arena, number: int, of: int) -> None:
    """`number` counts from 1; `of` is 0 where nobody knows how many there will be."""
    if isinstance(arena, Onlooker):
        arena.note_generation(number, of)


def note_accepted(arena: Arena, candidate: Candidate) -> None:
    if isinstance(arena, Onlooker):
        arena.note_accepted(candidate)


@dataclass(frozen=True)
class GainPoint:
    """The leader beside the seed, on the cases that both have met; `cases` is 0 where they met none together, and their means are
    compared. Optimistic: the leader was chosen by these very grades."""

    spent: int
    digest: str
    gain: float
    low: float
    high: float
    cases: int


@dataclass
class Watch:
    """`spent` gives the evaluations counted so far, `budget` how many there may be."""

    seed: Candidate
    spent: Callable[[], int]
    budget: int
    entries: dict[str, Entry] = field(default_factory=dict)
    points: list[GainPoint] = field(default_factory=list)
    generation: int = 0
    generations: int = 0
    accepted: Candidate | None = None
    """The last one that the strategy took on; where it does not say, the last one that took the lead."""
    taken_on: set[str] = field(default_factory=set)
    """Digests of all that were `accepted` so far."""
    tells_acceptance: bool = False

    def __post_init__(self) -> None:
        self.entries[self.seed.digest] = Entry(self.seed)
        self.leader = self.entries[self.seed.digest]
        self._curve_at = 0

    @property
    def candidates(self) -> int:
        """Measured ones, the seed included."""
        return len(self.entries)

    def measured(self, candidates: Sequence[Candidate], cases: Sequence[str], rows: Sequence[Sequence[float | None]]) -> None:
        for candidate, row in zip(candidates, rows, strict=True):
            self.entries.setdefault(candidate.digest, Entry(candidate)).add(cases, row)
        self._choose_leader({candidate.digest for candidate in candidates})
        if self.spent() >= self._curve_at:
            self.add_point()

    def front_size(self) -> int:
        """How many no other one beats in every objective that is known of all; 0 where there are too many to sort now and then."""
        if len(self.entries) > MOST_SORTED:
            return 0
        from shared.search.front import fronts  # half a second, for whoever looks
        from shared.search.objectives import objectives_of, scale_of

        measured = [entry for entry in self.entries.values() if entry.grades]
        scale = scale_of(measured)
        keys = [objectives_of(entry, scale).keys for entry in measured]
        compared = [name for name in (keys[0] if keys else ()) if all(name in each for each in keys)]
        sorted_fronts = fronts([[each[name] for name in compared] for each in keys])
        return len(sorted_fronts[0]) if sorted_fronts else 0

    def add_point(self) -> None:
        """The gain as it is known now; nothing before the seed was measured."""
        self._curve_at = self.spent() + max(1, self.budget // POINTS)
        point = self._point()
        if point is not None and (not self.points or point != self.points[-1]):
            self.points.append(point)

    def _choose_leader(self, changed: set[str]) -> None:
        """By a mean that is pulled to the seed's, so that few lucky cases do not lead; who leads stays until somebody is better."""
        prior = self.entries[self.seed.digest].mean
        has_moved = self.leader.candidate.digest in changed
        running = self.entries.values() if has_moved else [self.entries[digest] for digest in sorted(changed)]
        best = max(running, key=lambda entry: entry.shrunk_mean(prior))
        if best.shrunk_mean(prior) > self.leader.shrunk_mean(prior):
            self.leader = best
            if not self.tells_acceptance and best.candidate.digest != self.seed.digest:
                self._take_on(best.candidate)

    def note_accepted(self, candidate: Candidate) -> None:
        """By the strategy's own word; from then on nothing else counts."""
        if not self.tells_acceptance:
            self.tells_acceptance = True
            self.taken_on.clear()
        self._take_on(candidate)

    def _take_on(self, candidate: Candidate) -> None:
        self.accepted = candidate
        self.taken_on.add(candidate.digest)

    def _point(self) -> GainPoint | None:
        from shared.evidence.effects import paired_effect  # scipy, for whoever looks at curves

        seed = self.entries[self.seed.digest]
        both = [case for case in self.leader.grades if case in seed.grades]
        if not both:
            return self._unpaired_point(seed)
        ours, theirs = ([entry.grades[case] or 0.0 for case in both] for entry in (self.leader, seed))
        effect = paired_effect(ours, theirs, _LEVEL)
        return GainPoint(self.spent(), self.leader.candidate.digest, effect.gain, effect.low, effect.high, len(both))

    def _unpaired_point(self, seed: Entry) -> GainPoint | None:
        """Of means over different cases; interval by squaring and adding (Newcombe 1998, method 10)."""
        if not self.leader.grades or not seed.grades:
            return None
        ours, theirs = (score(list(entry.grades.values()), "") for entry in (self.leader, seed))
        gain = ours.mean - theirs.mean
        low = gain - math.hypot(ours.mean - ours.low, theirs.high - theirs.mean)
        high = gain + math.hypot(ours.high - ours.mean, theirs.mean - theirs.low)
        return GainPoint(self.spent(), self.leader.candidate.digest, gain, max(-1.0, low), min(1.0, high), 0)


@dataclass
class WatchedArena:
    """Implements `Arena` and `Onlooker` around another arena."""

    inner: Arena
    watch: Watch

    @property
    def remaining(self) -> int:
        return self.inner.remaining

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        rows = await self.inner.measure(candidates, cases)
        self.watch.measured(candidates, cases, rows)
        for candidate in candidates:
            self.watch.entries[candidate.digest].uses.update(self.uses(candidate.digest))
        return rows

    def uses(self, digest: str) -> Mapping[str, Mapping[str, float]]:
        """As `KnowsUse`; nothing where the arena around which this is does not know."""
        known = getattr(self.inner, "uses", None)
        found: Mapping[str, Mapping[str, float]] = known(digest) if callable(known) else {}
        return found

    def explain(self, digest: str, case: str) -> Mapping[str, Any]:
        """As `Explains`; the case's id alone where the arena around which this is tells no more."""
        known = getattr(self.inner, "explain", None)
        found: Mapping[str, Any] = known(digest, case) if callable(known) else {"Inputs": case}
        return found

    def note_generation(self, number: int, of: int) -> None:
        self.watch.generation, self.watch.generations = number, of

    def note_accepted(self, candidate: Candidate) -> None:
        self.watch.note_accepted(candidate)
