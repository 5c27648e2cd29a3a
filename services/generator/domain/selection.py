"""Trying candidates on the request's examples: few cases for all, more for the best, one winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from shared.events.generation import CandidateReport
from shared.events.runs import RunFinished
from shared.events.values import Case, GraderSpec, Score
from shared.evidence.graders import grade_run, grader_hash
from shared.evidence.scores import score
from shared.pipeline.document import Document


@dataclass(frozen=True)
class Draft:
    """What a strategy offers; `document` is still unchecked."""

    strategy: str
    origin: str
    document: dict[str, Any] | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A checked document with its trial so far."""

    strategy: str
    origin: str
    document: Document
    grades: dict[str, float | None] = field(default_factory=dict)
    """Case id -> grade; None where there was no gradable answer."""
    seconds: float = 0.0
    tokens: int = 0

    def with_run(self, case: Case, run: RunFinished, grader: GraderSpec) -> Candidate:
        return replace(
            self,
            grades={**self.grades, case.id: grade_run(grader, case.expected, run)},
            seconds=self.seconds + run.latency_seconds,
            tokens=self.tokens + run.usage.input_tokens + run.usage.output_tokens,
        )

    def trial(self, grader: GraderSpec) -> Score | None:
        return score(list(self.grades.values()), grader_hash(grader)) if self.grades else None

    @property
    def total(self) -> float:
        return sum(grade or 0.0 for grade in self.grades.values())

    @property
    def mean(self) -> float:
        return self.total / len(self.grades) if self.grades else 0.0

    @property
    def tokens_a_run(self) -> float:
        return self.tokens / len(self.grades) if self.grades else 0.0


class Round(NamedTuple):
    candidates: int
    """How many of the best take part."""
    cases: int
    """How many cases more each is tried on."""


ROUND_SIZES = (5, 10, 20)
SURVIVORS = (3, 2)


def trial_rounds(candidates: int, cases: int, runs: int) -> list[Round]:
    """Successive halving within `runs` runs in all: everybody on 5 cases, the best 3 on 10 more, the best 2 on 20 more."""
    plan: list[Round] = []
    for size, survivors in zip(ROUND_SIZES, (candidates, *SURVIVORS), strict=True):
        taking_part = min(survivors, candidates)
        more = min(size, cases, runs // taking_part if taking_part else 0)
        if more < 1:
            break
        plan.append(Round(taking_part, more))
        cases -= more
        runs -= taking_part * more
    return plan


PRIOR_CASES = 4
"""Weight of the pooled mean in a candidate's estimate: luck on few cases must not beat steadiness on many."""


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first by the mean grade shrunk towards that of all candidates; then fewer tokens a run, then digest."""
    cases = sum(len(candidate.grades) for candidate in candidates)
    pooled = sum(candidate.total for candidate in candidates) / cases if cases else 0.0

    def estimate(candidate: Candidate) -> float:
        return (candidate.total + PRIOR_CASES * pooled) / (len(candidate.grades) + PRIOR_CASES) if candidate.grades else -1.0

    return sorted(candidates, key=lambda one: (-round(estimate(one), 9), one.tokens_a_run, one.document.digest))


def survivors(best_first: Sequence[Candidate], count: int) -> list[Candidate]:
    """Who goes on to the next round. The baseline is there to compare with: it goes on only if it leads."""
    return [candidate for candidate in best_first if candidate.strategy != "baseline" or candidate is best_first[0]][:count]


Outcome = Literal["proposed", "outscored", "invalid", "failed", "timed_out"]


def report(candidate: Candidate, outcome: Outcome, reasons: Sequence[str], grader: GraderSpec) -> CandidateReport:
    return CandidateReport(
        digest=candidate.document.digest,
        strategy=candidate.strategy,
        origin=candidate.origin,
        outcome=outcome,
        trial=candidate.trial(grader),
        seconds=candidate.seconds,
        tokens=candidate.tokens,
        reasons=tuple(reasons),
    )
