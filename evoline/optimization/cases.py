"""What must not be true of a caller's cases: repeats, missing labels, one label only, labels that stand in the input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import Problem
from shared.events.values import Case
from shared.evidence.leaks import leaking_fields

_SHOWN = 3
_NOT_ASKED = frozenset(("id", "case_id", "expected", "split", "tags"))
"""Fields of a case without `input` that no answer depends on."""


def expected_of(case: Any) -> Any:
    """The label of a case where it says one: `case["expected"]` or `case.expected`."""
    if isinstance(case, Mapping):
        return case.get("expected")
    return getattr(case, "expected", None)


def input_of(case: Any) -> Any:
    """What is asked in a case: its input, else all but its label and names, else the case itself."""
    if isinstance(case, Case):
        return case.input
    if not isinstance(case, Mapping):
        return case
    if "input" in case:
        return case["input"]
    return {name: value for name, value in case.items() if name not in _NOT_ASKED} or case


def text_of(case: Any) -> str | None:
    """JSON of all that `evaluate` sees of a case: whatever is in it may decide a score. None for what is no JSON."""
    return _json(case.model_dump(mode="json") if isinstance(case, Case) else case)


def duplicate_problems(cases: Mapping[str, Any]) -> tuple[list[Problem], tuple[str, ...]]:
    """(problems, notes). Inputs that differ only in case and white space are the same."""
    first: dict[str, str] = {}
    doubled, unreadable = [], 0
    for name, case in cases.items():
        text = _json(_plain(input_of(case)))
        if text is None:
            unreadable += 1
        elif (other := first.setdefault(text, name)) != name:
            doubled.append(f"{name} repeats {other}")
    notes = (f"{unreadable} cases are no JSON: whether they repeat each other was not checked",) if unreadable else ()
    if not doubled:
        return [], notes
    shown = "; ".join(doubled[:_SHOWN])
    reason = f"{len(doubled)} cases stand twice ({shown}): what a search has seen cannot certify, and no case counts twice"
    return [Problem(path="cases", reason=reason, suggestion="remove the repeats")], notes


def label_problems(named: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """`named`: cases by id, by split. Where no case at all says a label, the scorer knows by itself."""
    found = []
    everyone = {name: case for cases in named.values() for name, case in cases.items()}
    missing = [name for name, case in everyone.items() if expected_of(case) in (None, "")]
    if missing and len(missing) < len(everyone):
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        reason = f"{len(missing)} of {len(everyone)} cases have no label: {shown}"
        found.append(Problem(path="cases", reason=reason, suggestion="give each an `expected`, or leave them out"))
    for split in ("dev", "sealed"):
        labels = {json.dumps(expected_of(case), sort_keys=True, default=repr) for case in named[split].values()}
        if len(labels) == 1 and labels != {"null"}:
            reason = f"all {split} cases have the same label: a constant answer would be perfect"
            found.append(Problem(path=split, reason=reason, suggestion="add cases with other labels"))
    return found


def leak_problems(cases: Mapping[str, Any]) -> list[Problem]:
    pairs = [(_asked(case), expected_of(case)) for case in cases.values() if expected_of(case) is not None]
    return [
        Problem(
            path=f"cases.{field}",
            reason=f"is the label itself in {count} of {total} cases: an answer is read there, not found",
            suggestion="leave the field out of what a candidate sees",
        )
        for field, count, total in leaking_fields(pairs)
    ]


def _asked(case: Any) -> Any:
    """Only of an input is it known that a candidate sees it."""
    if isinstance(case, Case):
        return case.input
    return case["input"] if isinstance(case, Mapping) and "input" in case else None


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, Sequence) and not isinstance(value, bytes) else value


def _json(value: Any) -> str | None:
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError):
        return None
