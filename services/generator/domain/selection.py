"""Trying candidates on the request's examples: few cases for all, more for the best, one winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
    runs: int = 0

    def with_run(self, case: Case, run: RunFinished | None, grader: GraderSpec) -> Candidate:
        grade = grade_run(grader, case.expected, run) if run else None
        usage = run.usage if run else None
        return replace(
            self,
            grades={**self.grades, case.id: grade},
            seconds=self.seconds + (run.latency_seconds if run else 0.0),
            tokens=self.tokens + (usage.input_tokens + usage.output_tokens if usage else 0),
            runs=self.runs + 1,
        )

    def trial(self, grader: GraderSpec) -> Score | None:
        return score(list(self.grades.values()), grader_hash(grader)) if self.grades else None

    @property
    def mean(self) -> float:
        return sum(grade or 0.0 for grade in self.grades.values()) / len(self.grades) if self.grades else 0.0

    @property
    def tokens_a_run(self) -> float:
        return self.tokens / self.runs if self.runs else 0.0


def rounds(candidates: int, cases: int, calls: int) -> list[tuple[int, int]]:
    """(how many candidates, how many cases each) of every trial round; successive halving within `calls` runs in all.

    The first round sees every candidate on up to 8 cases, each further one half of them on twice as many more."""
    plan: list[tuple[int, int]] = []
    first, left, tried = 8, calls, 0
    while candidates >= 1 and tried < cases:
        size = min(first, cases - tried, left // candidates)
        if size < 1:
            break
        plan.append((candidates, size))
        left -= candidates * size
        tried += size
        if candidates == 1 or len(plan) == 3:
            break
        candidates, first = max(2, (candidates + 1) // 2), first * 2
    return plan


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first: more cases seen beats fewer, then mean grade, then fewer tokens a run; ties by digest for reproducibility."""
    return sorted(
        candidates,
        key=lambda candidate: (-len(candidate.grades), -candidate.mean, candidate.tokens_a_run, candidate.document.digest),
    )


def report(candidate: Candidate, outcome: str, grader: GraderSpec, reasons: Sequence[str] = ()) -> CandidateReport:
    return CandidateReport.model_validate(
        {
            "digest": candidate.document.digest,
            "strategy": candidate.strategy,
            "origin": candidate.origin,
            "outcome": outcome,
            "trial": candidate.trial(grader),
            "seconds": candidate.seconds,
            "tokens": candidate.tokens,
            "reasons": tuple(reasons),
        }
    )
