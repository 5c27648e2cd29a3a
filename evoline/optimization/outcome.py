"""What an optimisation ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from shared.events.trade_offs import TradeOffs
from shared.events.values import Score
from shared.search.candidates import Archive
from shared.search.watching import GainPoint

Verdict = Literal["certified", "canary", "rejected"]


@dataclass(frozen=True)
class Evidence:
    """Everything behind the verdict, in numbers."""

    strategy: str
    seed_number: int
    budget: int
    spent: Mapping[str, int]
    """Calls of `evaluate` by stage: search, finals, gate."""
    candidates: int
    archive_hash: str
    alpha: float
    """Level of the one test on sealed cases."""
    p_value: float = 1.0
    """One-sided, exact; 1 where the gate was not reached."""
    seed_score: Score | None = None
    """On the sealed cases."""
    best_score: Score | None = None
    more_cases_needed: int = 0
    """Sealed cases beyond these that would decide at the seen gain, with 80% power; 0 where decided or hopeless."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Why evaluations failed, and how often."""
    proposals: Mapping[str, int] = field(default_factory=dict)
    """Of the caller's proposer: asked, usable, refused."""
    reasons: tuple[str, ...] = ()
    best_digest: str = ""
    """Of the candidate that the sealed cases judged; empty where it came to no judgement."""
    sealed_gain: tuple[float, float, float] | None = None
    """(gain, low, high) of that candidate, also where it was rejected; None where the gate was not reached."""


@dataclass(frozen=True)
class Outcome:
    """`best` is the candidate where it is certified, or undecided and worth a canary; else the seed."""

    best: Mapping[str, Any]
    verdict: Verdict
    claim: float
    """Gain of `best` over the seed, from sealed cases that no search has seen; 0 for the seed itself. Of a certified one
    the likeliest gain given that the test was passed (`shared.evidence.selection`): what was seen would be too good."""
    interval: tuple[float, float]
    """Of the gain as it was seen on the sealed cases, at confidence 1 - 2 alpha."""
    evidence: Evidence
    archive: Archive
    trade_offs: TradeOffs = field(default_factory=TradeOffs)
    """Pareto front and menu of niches of all candidates with their objectives; documents are in `archive[digest].candidate`."""

    curve: tuple[GainPoint, ...] = ()
    """What seemed gained while searching: optimistic, unlike `claim`."""

    def report(self, directory: Path | str) -> tuple[Path, ...]:
        """Writes gain.png, front.png, lineage.png and index.html, and gives their paths. Needs `evoline[plots]`."""
        from evoline.plots.report import write_report  # matplotlib, for whoever wants pictures
        from evoline.plots.story import of_outcome

        return write_report(of_outcome(self), Path(directory))

    def plot(self, directory: Path | str) -> tuple[Path, ...]:
        """As `report`."""
        return self.report(directory)

    def __str__(self) -> str:
        low, high = self.interval
        spent = ", ".join(f"{name} {count}" for name, count in self.evidence.spent.items())
        lines = [f"{self.verdict}: {self.claim:+.3f} [{low:+.3f}, {high:+.3f}]", f"evaluations: {spent} of {self.evidence.budget}"]
        return "\n".join([*lines, *(f"- {reason}" for reason in self.evidence.reasons)])


@dataclass(frozen=True)
class Progress:
    """Told after every measurement."""

    stage: Literal["search", "finals", "gate"]
    spent: int
    budget: int
    candidates: int
    generation: int = 0
    """0 where the strategy has none."""
    best: float = 0.0
    """Mean grade of the candidate that leads, on the cases that it has met; optimistic, since it was chosen by it."""
    operator: str = ""
    """Which made the candidate that was accepted last; empty before."""
