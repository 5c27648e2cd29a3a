"""Several variants against one incumbent on the same cases: exact paired tests, corrected for their number, and the winner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.evidence.effects import is_binary, paired_differences, paired_effect
from shared.evidence.exact_tests import TailTest, mcnemar_test, sign_flip_test
from shared.evidence.outcomes import require_level
from shared.evidence.paired import required_cases
from shared.evidence.scores import counted
from shared.evidence.verdicts import HARM_ALPHA, POWER

Grades = Sequence[float | None]
Standing = Literal["better", "worse", "undecided", "failing"]
FAILURE_TOLERANCE = 0.05
"""Share of cases on which a variant may fail more often than the incumbent, one case at least, and still be a winner."""


@dataclass(frozen=True)
class Compared:
    """One variant. Intervals of all variants hold together (Bonferroni); `p_adjusted` is Holm's."""

    label: str
    gain: float
    gain_low: float
    gain_high: float
    p_better: float
    p_adjusted: float
    p_worse: float
    discordant: int
    cases: int
    more_cases_needed: int
    standing: Standing
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    variants: tuple[Compared, ...]
    winner: str
    """Label; empty where no variant was shown better."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the same order: rejecting those of at most alpha errs anywhere with a chance of at most alpha, whatever
    the tests have in common (Holm, Scand J Stat 1979, 6:65)."""
    adjusted = [1.0] * len(p_values)
    reached = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = reached
    return adjusted


def compare_variants(incumbent: Grades, variants: Mapping[str, Grades], alpha: float, *, begun: int = 0) -> Comparison:
    """`begun`: variants that the comparison began with; those that are not among `variants` any more count as not shown better.

    None is a failed case and counts as 0. The winner is the variant with the largest gain among those shown better at `alpha`;
    a variant that fails clearly more often than the incumbent is none. Raises `InvalidInputError`: unpaired grades, alpha."""
    require_level(alpha)
    family = max(begun, len(variants))
    tests = {label: _tails(grades, incumbent) for label, grades in variants.items()}
    absent = [1.0] * (family - len(variants))
    better = holm([*(test.p_better for test in tests.values()), *absent])
    worse = holm([*(test.p_worse for test in tests.values()), *absent])
    compared = tuple(
        _compared(label, grades, incumbent, tests[label], (better[place], worse[place]), alpha, family)
        for place, (label, grades) in enumerate(variants.items())
    )
    shown = [each for each in compared if each.standing == "better"]
    best = max(shown, key=lambda each: (each.gain, -each.p_better), default=None)
    return Comparison(compared, best.label if best else "")


def _tails(grades: Grades, incumbent: Grades) -> TailTest:
    ours, theirs = counted(grades), counted(incumbent)
    differences = paired_differences(ours, theirs)
    if differences is None or not differences:
        return TailTest("no_data", 1.0, 1.0, 0, "none")
    if is_binary(ours) and is_binary(theirs):
        return mcnemar_test(differences.count(1.0), differences.count(-1.0))
    return sign_flip_test(differences)


def _compared(  # noqa: PLR0913  what is known of one variant
    label: str, grades: Grades, incumbent: Grades, test: TailTest, adjusted: tuple[float, float], alpha: float, family: int
) -> Compared:
    level = alpha / max(1, family)
    effect = paired_effect(counted(grades), counted(incumbent), level)
    failing = _failing(grades, incumbent)
    standing: Standing = "failing" if failing else "undecided"
    if adjusted[1] < HARM_ALPHA:
        standing = "worse"
    elif adjusted[0] <= alpha and not failing:
        standing = "better"
    more = 0
    if standing == "undecided" and effect.gain > 0:
        more = max(1, required_cases(effect.gain, test.discordant / effect.cases, level, POWER) - effect.cases)
    return Compared(
        label=label,
        gain=effect.gain,
        gain_low=effect.low,
        gain_high=effect.high,
        p_better=test.p_better,
        p_adjusted=adjusted[0],
        p_worse=adjusted[1],
        discordant=test.discordant,
        cases=effect.cases,
        more_cases_needed=more,
        standing=standing,
        reasons=failing,
    )


def _failing(grades: Grades, incumbent: Grades) -> tuple[str, ...]:
    failures, before = (sum(grade is None for grade in each) for each in (grades, incumbent))
    if failures - before <= max(1, int(FAILURE_TOLERANCE * len(grades))):
        return ()
    return (f"{failures} of {len(grades)} runs failed, {before} with the stable revision",)
