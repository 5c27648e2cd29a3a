"""How an evolution spends: which dev cases the search sees, which stay fresh for the finalists, and how much each stage may use."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors import InvalidInputError, Problem
from shared.events.values import Case

MINIMUM_DEV_CASES = 16
MINIMUM_EVALUATIONS = 48
"""The seed and two candidates on 8 cases each, then the seed and one finalist on 12 fresh ones."""
FINALISTS = 4
"""At most, the seed included."""
_FINAL_SHARE = 0.35
_FRESH_SHARE = 0.5


@dataclass(frozen=True)
class Plan:
    search_cases: tuple[str, ...]
    """Case ids in the order in which every candidate meets them."""
    fresh_cases: tuple[str, ...]
    """Seen by finalists only."""
    search_evaluations: int
    final_evaluations: int


def plan_evolution(cases: Sequence[Case], evaluations: int, seed: int) -> Plan:
    """Divides dev cases and budget. Raises `InvalidInputError`: too few cases or evaluations, with the smallest useful numbers."""
    dev = [case for case in cases if case.split == "dev"]
    problems = [*_case_problems(dev), *_budget_problems(evaluations)]
    if problems:
        raise InvalidInputError(problems)
    order = interleaved(dev, seed)
    fresh = max(8, round(len(order) * _FRESH_SHARE))
    final = min(round(evaluations * _FINAL_SHARE), FINALISTS * fresh)
    return Plan(
        search_cases=tuple(case.id for case in order[fresh:]),
        fresh_cases=tuple(case.id for case in order[:fresh]),
        search_evaluations=evaluations - final,
        final_evaluations=final,
    )


def interleaved(cases: Sequence[Case], seed: int) -> list[Case]:
    """The cases in the order of `spread_evenly`."""
    by_id = {case.id: case for case in cases}
    labels = {case.id: case.expected if isinstance(case.expected, str) else "" for case in cases}
    return [by_id[name] for name in spread_evenly(labels, seed)]


def spread_evenly(labels: Mapping[str, str], seed: int) -> list[str]:
    """Ids in a shuffle in which every prefix holds about the whole's share of each label: less noise in small batches, no bias."""
    shuffler = random.Random(f"order:{seed}")  # noqa: S311 - a reproducible order, no secret
    groups: dict[str, list[str]] = {}
    for name in sorted(labels):
        groups.setdefault(labels[name], []).append(name)
    placed: list[tuple[float, str]] = []
    for _, group in sorted(groups.items()):
        shuffler.shuffle(group)
        placed += [((index + shuffler.random()) / len(group), name) for index, name in enumerate(group)]
    return [name for _, name in sorted(placed)]


def _case_problems(dev: Sequence[Case]) -> list[Problem]:
    if len(dev) < MINIMUM_DEV_CASES:
        reason = f"{len(dev)} dev cases are too few to search on and confirm"
        return [Problem(path="dataset_id", reason=reason, suggestion=f"register at least {MINIMUM_DEV_CASES} dev cases")]
    answers = {json.dumps(case.expected, sort_keys=True) for case in dev}
    if len(answers) == 1:
        return [Problem(path="dataset_id", reason="all dev cases have the same label", suggestion="add cases with other labels")]
    return []


def _budget_problems(evaluations: int) -> list[Problem]:
    if evaluations >= MINIMUM_EVALUATIONS:
        return []
    reason = f"a budget of {evaluations} evaluations cannot tell any candidate from the seed"
    return [Problem(path="evaluations", reason=reason, suggestion=f"allow at least {MINIMUM_EVALUATIONS}")]
