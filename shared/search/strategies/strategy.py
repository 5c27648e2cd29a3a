"""What a strategy is given and what it must be."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from shared.errors import LimitReachedError
from shared.search.candidates import Archive, Candidate, Entry, SearchResult


class SearchOverError(LimitReachedError):
    """Budget or time does not suffice for the measurement asked for; nothing of it was dispatched."""


class Arena(Protocol):
    """Measures candidates. The same (candidate, case) is paid once; grades come in the order asked, whatever the workers."""

    @property
    def remaining(self) -> int:
        """Evaluations that may still be spent."""
        ...

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        """One row a candidate, one grade a case; None is a failed case. Raises `SearchOverError` before anything is dispatched."""
        ...


@runtime_checkable
class KnowsUse(Protocol):
    """What an arena may know beside the grades."""

    def uses(self, digest: str) -> Mapping[str, Mapping[str, float]]:
        """Case -> what its evaluation used (`shared.search.objectives.Use`), for cases of which anything is known."""
        ...


@runtime_checkable
class Explains(Protocol):
    """What an arena may tell to whoever writes new texts."""

    def explain(self, digest: str, case: str) -> Mapping[str, Any]:
        """`Inputs`, `Generated Outputs` and `Feedback` of one evaluation, as far as there are any."""
        ...


def note_uses(archive: Archive, arena: Arena) -> None:
    """Writes into the archive what the arena knows of its candidates' use."""
    if isinstance(arena, KnowsUse):
        for entry in archive.entries:
            entry.uses.update(arena.uses(entry.candidate.digest))


class Proposer(Protocol):
    """Makes new valid candidates from old ones."""

    @property
    def operators(self) -> Mapping[str, float]:
        """Prior weight of every operator."""
        ...

    @property
    def costly(self) -> frozenset[str]:
        """Operators that ask a model or a caller: worth at most one question a child."""
        ...

    async def propose(self, operator: str, parent: Entry, mates: Sequence[Candidate], generator: random.Random) -> Candidate | None:
        """None where the operator has nothing valid to offer for this parent."""
        ...


class Strategy(Protocol):
    """A search. Deterministic given the seed: the same archive however many workers measure."""

    @property
    def name(self) -> str: ...

    async def search(self, seed: Candidate, cases: Sequence[str], arena: Arena, proposer: Proposer, number: int) -> SearchResult:
        """Searches until the arena says it is over or nothing new can be proposed. `number` seeds all choices."""
        ...
