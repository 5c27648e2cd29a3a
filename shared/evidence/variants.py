"""Several variants against one incumbent on the same cases: exact paired tests, corrected for their number, and the winner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared.evidence.effects import is_binary, paired_differences, paired_effect
from shared.evidence.exact_tests import TailTest, mcnemar_test, sign_flip_test
from shared.evidence.outcomes import require_level
from shared.evidence.paired import further_cases
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

    None is a failed case and counts as 0. Raises `InvalidInputError`: unpaired grades, alpha."""
    standings = tested(incumbent, variants, alpha, begun=begun)
    level = alpha / max(1, begun, len(variants))
    found = tuple(_compared(each, variants[each.label], incumbent, level) for each in standings)
    return Comparison(found, winner_among(standings))


@dataclass(frozen=True)
class Tested:
    """One variant without the interval of its gain, which takes most of the time."""

    label: str
    gain: float
    test: TailTest
    p_adjusted: float
    p_worse: float
    standing: Standing
    reasons: tuple[str, ...]


def tested(incumbent: Grades, variants: Mapping[str, Grades], alpha: float, *, begun: int = 0) -> tuple[Tested, ...]:
    """In the order of `variants`; arguments and errors as of `compare_variants`."""
    require_level(alpha)
    absent = [1.0] * max(0, begun - len(variants))
    tests = [_tails(grades, incumbent) for grades in variants.values()]
    better = holm([*(test.p_better for test in tests), *absent])
    worse = holm([*(test.p_worse for test in tests), *absent])
    return tuple(
        _tested(label, grades, incumbent, test, (better[place], worse[place], alpha))
        for place, ((label, grades), test) in enumerate(zip(variants.items(), tests, strict=True))
    )


def winner_among(found: Sequence[Tested]) -> str:
    """The variant with the largest gain among those shown better; empty where there is none."""
    shown = [each for each in found if each.standing == "better"]
    best = max(shown, key=lambda each: (each.gain, -each.test.p_better), default=None)
    return best.label if best else ""


def _tails(grades: Grades, incumbent: Grades) -> TailTest:
    ours, theirs = counted(grades), counted(incumbent)
    differences = paired_differences(ours, theirs)
    if differences is None or not differences:
        return TailTest("no_data", 1.0, 1.0, 0, "none")
    if is_binary(ours) and is_binary(theirs):
        return mcnemar_test(differences.count(1.0), differences.count(-1.0))
    return sign_flip_test(differences)


def _tested(label: str, grades: Grades, incumbent: Grades, test: TailTest, levels: tuple[float, float, float]) -> Tested:
    """`levels`: adjusted p-values of better and of worse, and alpha. Who fails clearly more often is no winner, however good."""
    better, worse, alpha = levels
    failing = _failing(grades, incumbent)
    standing: Standing = "failing" if failing else "undecided"
    if worse < HARM_ALPHA:
        standing = "worse"
    elif better <= alpha and not failing:
        standing = "better"
    gain = (math.fsum(counted(grades)) - math.fsum(counted(incumbent))) / max(1, len(grades))
    return Tested(label, gain, test, better, worse, standing, failing)


def _compared(found: Tested, grades: Grades, incumbent: Grades, level: float) -> Compared:
    ours, theirs = counted(grades), counted(incumbent)
    effect = paired_effect(ours, theirs, level)
    more = 0
    if found.standing == "undecided" and effect.gain > 0:
        square = math.fsum((one - other) ** 2 for one, other in zip(ours, theirs, strict=True)) / effect.cases
        more = further_cases(effect.gain, square, effect.cases, (level, POWER))
    return Compared(
        label=found.label,
        gain=effect.gain,
        gain_low=effect.low,
        gain_high=effect.high,
        p_better=found.test.p_better,
        p_adjusted=found.p_adjusted,
        p_worse=found.p_worse,
        discordant=found.test.discordant,
        cases=effect.cases,
        more_cases_needed=more,
        standing=found.standing,
        reasons=found.reasons,
    )


def _failing(grades: Grades, incumbent: Grades) -> tuple[str, ...]:
    failures, before = (sum(grade is None for grade in each) for each in (grades, incumbent))
    if failures - before <= max(1, int(FAILURE_TOLERANCE * len(grades))):
        return ()
    return (f"{failures} of {len(grades)} runs failed, {before} with the stable revision",)
