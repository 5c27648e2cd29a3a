"""What `optimize` was given, checked before anything is evaluated: every problem at once, with what would do."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evoline.optimization.cases import duplicate_problems, expected_of, label_problems, label_text, leak_problems, text_of
from shared.errors import InvalidInputError, Problem
from shared.events.values import Case
from shared.search.plan import FINALISTS, MINIMUM_DEV_CASES, MINIMUM_EVALUATIONS, Plan, spread_evenly

MINIMUM_SEALED_CASES = 20
"""Fewer cannot certify at 5% unless nearly every one of them improves."""
SMALLEST_BUDGET = MINIMUM_EVALUATIONS + 2 * MINIMUM_SEALED_CASES
_GATE_SHARE = 0.4
"""Of the budget, at most, for the one look at the sealed cases: candidate and seed on each."""
_FINAL_SHARE = 0.35


@dataclass(frozen=True)
class Task:
    """Cases by id, and how the budget is divided."""

    cases: Mapping[str, Any]
    train: tuple[str, ...]
    plan: Plan
    sealed: tuple[str, ...]
    """Those that the gate looks at, in its order."""
    fingerprint: str
    notes: tuple[str, ...] = field(default=())

    @property
    def gate_evaluations(self) -> int:
        return 2 * len(self.sealed)


def plan_task(
    seed: Mapping[str, Any],
    splits: Mapping[str, Sequence[Any]],
    budget: int,
    number: int,
    *,
    search_on_train: bool,
) -> Task:
    """`splits`: train, dev, sealed. Raises `InvalidInputError`: too few cases or evaluations, one label only, duplicates."""
    named = {split: _named(split, cases) for split, cases in splits.items()}
    cases = {name: case for split in named.values() for name, case in split.items()}
    duplicates, notes = duplicate_problems(cases)
    if problems := [*_counts(splits, budget), *label_problems(named), *duplicates, *leak_problems(cases)]:
        raise InvalidInputError(problems)
    sealed_count = max(MINIMUM_SEALED_CASES, min(len(splits["sealed"]), math.floor(budget * _GATE_SHARE / 2)))
    sealed = tuple(_ordered(named["sealed"], number))[:sealed_count]
    dev, train = _ordered(named["dev"], number), _ordered(named["train"], number)
    fresh = max(8, len(dev) // 2)
    left = budget - 2 * len(sealed)
    final = min(round(left * _FINAL_SHARE), FINALISTS * fresh)
    searched = [*dev[fresh:], *(train if search_on_train else ())]
    plan = Plan(
        search_cases=tuple(_ordered({name: cases[name] for name in searched}, number)),
        fresh_cases=tuple(dev[:fresh]),
        search_evaluations=left - final,
        final_evaluations=final,
    )
    return Task(cases, tuple(train), plan, sealed, _fingerprint(seed, splits, budget, number), notes)


def fingerprint_of(*parts: Any) -> str:
    """The same for the same parts in every process; of what tells only where it lies, as a model, its class counts."""
    return hashlib.sha256(json.dumps([text_of(part) or type(part).__qualname__ for part in parts]).encode()).hexdigest()


def as_case(name: str, case: Any) -> Case | None:
    """The case as pipelines know it, where it has an `input` map and `expected`; None for other shapes."""
    if isinstance(case, Case):
        return case
    given = case.get("input") if isinstance(case, Mapping) and "expected" in case else None
    if isinstance(given, Mapping) and given and all(isinstance(key, str) for key in given):
        return Case(id=name, input=dict(given), expected=case["expected"])
    return None


def _named(split: str, cases: Sequence[Any]) -> dict[str, Any]:
    return {f"{split}-{index:05d}": case for index, case in enumerate(cases)}


def _ordered(cases: Mapping[str, Any], number: int) -> list[str]:
    labels = {name: expected_of(case) for name, case in cases.items()}
    return spread_evenly({name: label if isinstance(label, str) else "" for name, label in labels.items()}, number)


def _counts(splits: Mapping[str, Sequence[Any]], budget: int) -> list[Problem]:
    found = []
    for split, least in (("dev", MINIMUM_DEV_CASES), ("sealed", MINIMUM_SEALED_CASES)):
        if len(splits[split]) < least:
            reason = f"{len(splits[split])} {split} cases are too few for any decision"
            found.append(Problem(path=split, reason=reason, suggestion=f"give at least {least}"))
    if budget < SMALLEST_BUDGET:
        reason = f"a budget of {budget} evaluations can neither find nor certify anything"
        found.append(Problem(path="budget", reason=reason, suggestion=f"allow at least {SMALLEST_BUDGET}"))
    return found


def _fingerprint(seed: Mapping[str, Any], splits: Mapping[str, Sequence[Any]], budget: int, number: int) -> str:
    parts = [seed, {name: [text_of(case) for case in cases] for name, cases in splits.items()}, budget, number]
    labels = [[label_text(case) for case in cases] for cases in splits.values()]
    return hashlib.sha256(json.dumps([*parts, labels], sort_keys=True, default=repr).encode()).hexdigest()
