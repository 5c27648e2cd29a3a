"""Candidates, what is known of them, and the archive that a search leaves behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.events.trade_offs import TradeOffs
from shared.events.values import Case

SEED_OPERATOR = "seed"


@dataclass(frozen=True)
class Proposal:
    """What an operator offers; not yet checked."""

    document: dict[str, Any]
    operator: str
    text: str
    """What was changed, for people."""
    origins: tuple[str, ...] = ()
    """Digests of what it took over that is neither the parent's nor the task's."""


@dataclass(frozen=True)
class Candidate:
    """A valid document with its descent."""

    digest: str
    document: Mapping[str, Any]
    parent: str = ""
    operator: str = SEED_OPERATOR
    text: str = ""
    origins: tuple[str, ...] = ()
    """Digests of all templates and other pipelines that anything in it was taken from, in any generation of the search; sorted."""

    def from_also(self, *origins: Sequence[str]) -> Candidate:
        """With these among its origins."""
        return replace(self, origins=tuple(sorted(set(self.origins).union(*origins))))


@dataclass(frozen=True)
class Lent:
    """A template or another task's pipeline whose steps may be taken over."""

    digest: str
    """With which whatever takes its steps goes out of use."""
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """A case that a parent got wrong, for reflection."""

    case: Case
    answer: Any


@dataclass(frozen=True)
class OperatorContext:
    """What operators may look at besides the document; the same for a whole search, except mates and failures."""

    seed: Mapping[str, Any]
    shown: tuple[Case, ...]
    """Training cases: the only ones that prompts may contain."""
    labels: tuple[str, ...] = ()
    """Classes; empty unless answers are graded as labels."""
    mates: tuple[Candidate, ...] = ()
    failures: tuple[Failure, ...] = ()
    families: tuple[str, ...] = ()
    """Providers that steps may ask: `claude`, `gemini`."""
    models: tuple[str, ...] = ()
    """Models that steps may name, `family:model`, cheapest first, strongest last."""
    templates: tuple[Lent, ...] = ()
    """Documents with blanks that may be filled for this task."""
    donors: tuple[Lent, ...] = ()
    """Pipelines of other tasks whose steps may be taken over."""


@dataclass
class Entry:
    """One candidate in the archive. Grades grow; None is a failed case."""

    candidate: Candidate
    accepted: bool = False
    grades: dict[str, float | None] = field(default_factory=dict)
    uses: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """By case, what its evaluation used, as far as whoever measured tells (`shared.search.objectives.Use`). Not part of the
    archive's digest: times are never the same twice."""
    faulted: dict[str, bool] = field(default_factory=dict)
    """By case, whether it gave a gradable answer while its provider failed on purpose."""

    def add(self, cases: Sequence[str], grades: Sequence[float | None]) -> None:
        self.grades.update(zip(cases, grades, strict=True))

    def mean_on(self, cases: Sequence[str]) -> float:
        """Mean over those of `cases` that it was measured on; failures count as 0; 0 where there are none."""
        known = [self.grades[case] or 0.0 for case in cases if case in self.grades]
        return sum(known) / len(known) if known else 0.0

    @property
    def mean(self) -> float:
        return self.mean_on(tuple(self.grades))

    def shrunk_mean(self, prior: float, weight: float = 4.0) -> float:
        """Mean pulled to `prior` as if `weight` more cases had scored it: few lucky cases do not win."""
        total = sum(grade or 0.0 for grade in self.grades.values())
        return (total + prior * weight) / (len(self.grades) + weight)


class Archive:
    """Every candidate that was measured, in order of birth."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, candidate: Candidate) -> Entry:
        return self._entries.setdefault(candidate.digest, Entry(candidate))

    def __contains__(self, digest: object) -> bool:
        return digest in self._entries

    def __getitem__(self, digest: str) -> Entry:
        return self._entries[digest]

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    def digest(self) -> str:
        """64 hex digits over every candidate, its descent, its grades and whether it was accepted."""
        rows = [_row(entry) for entry in self._entries.values()]
        return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def _row(entry: Entry) -> list[Any]:
    """Where nothing was taken from elsewhere as before there were origins: digests of searches that are kept stay what they are."""
    candidate = entry.candidate
    row = [candidate.digest, candidate.parent, candidate.operator, entry.accepted, sorted(entry.grades.items())]
    return [*row, list(candidate.origins)] if candidate.origins else row


@dataclass(frozen=True)
class SearchResult:
    archive: Archive
    ranking: tuple[str, ...]
    """Digests worth confirming, best first; the seed is not among them."""
    reasons: tuple[str, ...] = ()
    """Why the search ended, and what it could not do."""
    trade_offs: TradeOffs | None = None
    """Front and menu, once whoever ran the search knows what its evaluations used (`shared.search.trade_offs`)."""
