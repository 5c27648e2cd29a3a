"""The verdict of one look at sealed cases, from the grades alone; what an answer looks like is judged elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from shared.evidence.paired import PairedTest, further_cases
from shared.evidence.rare_losses import cases_against_rare_losses, rare_loss_p_value
from shared.evidence.wording import chance

HARM_ALPHA = 0.05
"""One-sided level at which a candidate counts as shown worse."""
POWER = 0.8
SealedVerdict = Literal["certified", "canary", "rejected"]


def judge_pairs(
    candidate: Sequence[float | None],
    incumbent: Sequence[float | None],
    test: PairedTest,
    *,
    alpha: float,
    failure_tolerance: float,
) -> tuple[SealedVerdict, tuple[str, ...], int]:
    """(verdict, reasons, further cases that would decide). Better must be shown; worse or failing rejects; else undecided."""
    if against := harms(candidate, incumbent, test, failure_tolerance):
        return "rejected", against, 0
    measured = f"{test.gain:+.3f} [{test.gain_low:+.3f}, {test.gain_high:+.3f}], p = {chance(test.p_value_better)}"
    if rare := unseen_losses(candidate, incumbent, test, alpha):
        return "canary", rare, cases_to_decide(test, alpha)
    if test.p_value_better < alpha:
        return "certified", (f"better by {measured} < {alpha:.4f}",), 0
    return "canary", (f"not shown better: {measured}",), cases_to_decide(test, alpha)


def harms(
    candidate: Sequence[float | None], incumbent: Sequence[float | None], test: PairedTest, failure_tolerance: float
) -> tuple[str, ...]:
    """Why a candidate must not be tried on anybody. At least 2 failures beyond the incumbent's are needed to speak of them."""
    found = []
    failures, before = (sum(grade is None for grade in grades) for grades in (candidate, incumbent))
    if failures - before > max(1, int(failure_tolerance * len(candidate))):
        found.append(f"{failures} of {len(candidate)} runs failed, {before} with the stable revision")
    if test.p_value_worse < HARM_ALPHA:
        found.append(f"shown worse: {test.gain:+.3f}, p = {chance(test.p_value_worse)}")
    return tuple(found)


def unseen_losses(
    candidate: Sequence[float | None], incumbent: Sequence[float | None], test: PairedTest, alpha: float
) -> tuple[str, ...]:
    """Why a candidate with graded cases that passed its test of signs may still be none that is better on average."""
    if test.method == "mcnemar" or test.p_value_better >= alpha:
        return ()
    p_value = rare_loss_p_value(candidate, incumbent)
    if p_value < alpha:
        return ()
    told = f"{test.gain:+.3f} on {test.cases} cases could be undone by rare large losses that none of them showed"
    return (f"not shown better on average: {told}, p = {chance(p_value)}",)


def more_cases(test: PairedTest, alpha: float) -> int:
    """Sealed cases beyond these that would decide at the seen gain and spread with 80% power; 0 where no gain was seen."""
    return further_cases(test.gain, test.mean_square, test.cases, (alpha, POWER))


def cases_to_decide(test: PairedTest, alpha: float) -> int:
    """As `more_cases`; of graded cases also as many as it takes to leave no room for rare losses."""
    more = more_cases(test, alpha)
    if test.method == "mcnemar" or not more:
        return more
    return max(more, cases_against_rare_losses(test.gain, test.mean_square, alpha, POWER) - test.cases)
