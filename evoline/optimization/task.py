"""What `optimize` was given, checked before anything is evaluated: every problem at once, with what would do."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import InvalidInputError, Problem
from shared.events.values import Case
from shared.search.plan import FINALISTS, MINIMUM_DEV_CASES, MINIMUM_EVALUATIONS, Plan, spread_evenly

MINIMUM_SEALED_CASES = 20
"""Fewer cannot certify at 5% unless nearly every one of them improves."""
SMALLEST_BUDGET = MINIMUM_EVALUATIONS + 2 * MINIMUM_SEALED_CASES
_GATE_SHARE = 0.4
"""Of the budget, at most, for the one look at the sealed cases: candidate and seed on each."""
_FINAL_SHARE = 0.35
_SHOWN_DUPLICATES = 3


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
    duplicates, notes = _duplicates(cases)
    if problems := [*_counts(splits, budget), *_labels(splits), *duplicates]:
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


def expected_of(case: Any) -> Any:
    """The label of a case where it says one: `case["expected"]` or `case.expected`."""
    if isinstance(case, Mapping):
        return case.get("expected")
    return getattr(case, "expected", None)


def as_case(name: str, case: Any) -> Case | None:
    """The case as pipelines know it, where it has an `input` map and `expected`; None for other shapes."""
    if isinstance(case, Case):
        return case
    if isinstance(case, Mapping) and isinstance(case.get("input"), Mapping) and case["input"] and "expected" in case:
        return Case(id=name, input=dict(case["input"]), expected=case["expected"])
    return None


def text_of(case: Any) -> str | None:
    """JSON by which two cases are the same; the input alone where a case has one. None for what is no JSON."""
    shown = case.model_dump(mode="json") if isinstance(case, Case) else case
    if isinstance(shown, Mapping) and "input" in shown:
        shown = shown["input"]
    try:
        return json.dumps(shown, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
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


def _labels(splits: Mapping[str, Sequence[Any]]) -> list[Problem]:
    found = []
    for split in ("dev", "sealed"):
        labels = {json.dumps(expected_of(case), sort_keys=True, default=repr) for case in splits[split]}
        if len(labels) == 1 and labels != {"null"}:
            reason = f"all {split} cases have the same label: a constant answer would be perfect"
            found.append(Problem(path=split, reason=reason, suggestion="add cases with other labels"))
    return found


def _duplicates(cases: Mapping[str, Any]) -> tuple[list[Problem], tuple[str, ...]]:
    first: dict[str, str] = {}
    doubled, unreadable = [], 0
    for name, case in cases.items():
        text = text_of(case)
        if text is None:
            unreadable += 1
        elif (other := first.setdefault(" ".join(text.casefold().split()), name)) != name:
            doubled.append(f"{name} repeats {other}")
    notes = (f"{unreadable} cases are no JSON: whether they repeat each other was not checked",) if unreadable else ()
    if not doubled:
        return [], notes
    shown = "; ".join(doubled[:_SHOWN_DUPLICATES])
    reason = f"{len(doubled)} cases stand twice ({shown}): what a search has seen cannot certify, and no case counts twice"
    return [Problem(path="cases", reason=reason, suggestion="remove the repeats")], notes


def _fingerprint(seed: Mapping[str, Any], splits: Mapping[str, Sequence[Any]], budget: int, number: int) -> str:
    parts = [seed, {name: [text_of(case) for case in cases] for name, cases in splits.items()}, budget, number]
    labels = [[expected_of(case) for case in cases] for cases in splits.values()]
    return hashlib.sha256(json.dumps([*parts, labels], sort_keys=True, default=repr).encode()).hexdigest()
