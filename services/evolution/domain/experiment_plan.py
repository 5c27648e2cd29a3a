"""How many cases an experiment measures, and when it cannot decide anything: refused before anything is run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import InvalidInputError, Problem
from shared.events.values import Case
from shared.evidence.effects import is_binary
from shared.evidence.planning import detectable_gain, detectable_mean_gain, exact_cases
from shared.evidence.scores import counted
from shared.evidence.verdicts import POWER
from shared.search.plan import interleaved

LARGEST_GAIN = 0.5
"""Cases with which not even a gain of 50 points would be shown with 80% power are too few for any decision."""
EXPECTED_DISCORDANCE = 0.3


@dataclass(frozen=True)
class ExperimentPlan:
    cases: tuple[str, ...]
    """Ids in the order in which all variants meet them."""
    detectable_gain: float | None
    """With 80% power, where the variants differ on 30% of the cases."""


def least_cases(variants: int, alpha: float) -> int:
    """Cases from which an experiment with so many variants can decide at all."""
    return exact_cases(LARGEST_GAIN, LARGEST_GAIN, alpha / max(1, variants), POWER)


def plan_experiment(cases: Sequence[Case], variants: int, evaluations: int, alpha: float, seed: int) -> ExperimentPlan:
    """As many dev cases as the budget pays for all variants and the stable revision. Raises `InvalidInputError`: too few,
    unlabelled or one-class cases, a budget that is too small, each with what would be enough."""
    dev = [case for case in cases if case.split == "dev"]
    needed = least_cases(variants, alpha)
    affordable = evaluations // (variants + 1)
    problems = [*_case_problems(dev, needed, variants), *_budget_problems(evaluations, affordable, needed, variants)]
    if problems:
        raise InvalidInputError(problems)
    chosen = interleaved(dev, seed)[:affordable]
    shown = detectable_gain(len(chosen), EXPECTED_DISCORDANCE, alpha / variants, POWER)
    return ExperimentPlan(tuple(case.id for case in chosen), shown)


def seen_detectable_gain(
    incumbent: Sequence[float | None], variants: Sequence[Sequence[float | None]], begun: int, alpha: float
) -> float | None:
    """The least gain that the measured cases show with 80% power, where variants differ from the incumbent as much as was seen;
    None where there is nothing to go by, or no gain would show. `begun`: variants that the experiment began with."""
    theirs, cases, level = counted(incumbent), len(incumbent), alpha / max(1, begun)
    differences = [one - other for each in variants for one, other in zip(counted(each), theirs, strict=True)]
    if not differences:
        return None
    square = max(math.fsum(one * one for one in differences) / len(differences), 1 / cases)
    graded = not all(is_binary(counted(each)) for each in (incumbent, *variants))
    return (detectable_mean_gain if graded else detectable_gain)(cases, square, level, POWER)


def _case_problems(dev: Sequence[Case], needed: int, variants: int) -> list[Problem]:
    unlabelled = [case.id for case in dev if case.expected is None]
    if unlabelled:
        reason = f"{len(unlabelled)} of {len(dev)} dev cases have no label, as {unlabelled[0]}: nothing can be graded on them"
        return [Problem(path="dataset_id", reason=reason, suggestion="register a dataset whose cases say what is `expected`")]
    if len(dev) < needed:
        reason = f"{len(dev)} dev cases are too few to decide about {variants} variant(s): not even a gain of 50 points would show"
        return [Problem(path="dataset_id", reason=reason, suggestion=f"register at least {needed} dev cases")]
    if len({json.dumps(case.expected, sort_keys=True) for case in dev}) == 1:
        return [Problem(path="dataset_id", reason="all dev cases have the same label", suggestion="add cases with other labels")]
    return []


def _budget_problems(evaluations: int, affordable: int, needed: int, variants: int) -> list[Problem]:
    if affordable >= needed:
        return []
    least = needed * (variants + 1)
    reason = f"{evaluations} evaluations are {affordable} cases for each of {variants} variant(s) and the stable revision"
    return [Problem(path="evaluations", reason=reason, suggestion=f"allow at least {least}: {needed} cases each")]
