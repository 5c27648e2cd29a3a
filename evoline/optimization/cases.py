"""What must not be true of a caller's cases: repeats, missing labels, one label only, labels that stand in the input."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Set
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
    if "input" in case and not _is_blank(case["input"]):  # as in collections where only some instructions have one
        return case["input"]
    return {name: value for name, value in case.items() if name not in _NOT_ASKED} or case


def text_of(value: Any) -> str | None:
    """All that `evaluate` sees of a case, or its label, the same in every process: whatever is in it may decide a score. None for
    what has no such text, as an object that tells only where it lies."""
    try:
        return repr(_shown(value))
    except Exception:  # _NoText, circles, nesting beyond what can be read, classes of the caller's
        return None


def label_text(case: Any) -> str | None:
    """Equal for equal labels; None where the case has none, or one without a text."""
    label = expected_of(case)
    return None if label is None else text_of(label)


def duplicate_problems(cases: Mapping[str, Any]) -> tuple[list[Problem], tuple[str, ...]]:
    """(problems, notes). Inputs that differ only in case and white space are the same."""
    first: dict[str, str] = {}
    doubled, unreadable = [], 0
    for name, case in cases.items():
        text = _plain_text(input_of(case))
        if text is None:
            unreadable += 1
        elif (other := first.setdefault(text, name)) != name:
            doubled.append(f"{name} repeats {other}")
    told = f"{unreadable} cases cannot be told apart by what they hold: whether they repeat each other was not checked"
    notes = (told,) if unreadable else ()
    if not doubled:
        return [], notes
    shown = "; ".join(doubled[:_SHOWN])
    reason = f"{len(doubled)} cases stand twice ({shown}): what a search has seen cannot certify, and no case counts twice"
    return [Problem(path="cases", reason=reason, suggestion="remove the repeats")], notes


def label_problems(named: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """`named`: cases by id, by split. Where no case at all says a label, the scorer knows by itself."""
    found = []
    everyone = {name: case for cases in named.values() for name, case in cases.items()}
    missing = [name for name, case in everyone.items() if _is_blank(expected_of(case))]
    if missing and len(missing) < len(everyone):
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        reason = f"{len(missing)} of {len(everyone)} cases have no label: {shown}"
        found.append(Problem(path="cases", reason=reason, suggestion="give each an `expected`, or leave them out"))
    for split in ("dev", "sealed"):
        labels = {label_text(case) for case in named[split].values()}
        if len(labels) == 1 and None not in labels:
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


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _plain_text(value: Any) -> str | None:
    try:
        return repr(_shown(value, _plain))
    except Exception:  # as above
        return None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


class _NoText(Exception):  # noqa: N818 - a signal
    pass


def _shown(value: Any, spelled: Callable[[str], str] = str) -> Any:
    """Built of lists, texts and numbers only, in an order that does not depend on the process."""
    if isinstance(value, str):
        return spelled(value)
    if isinstance(value, Case):
        return _shown(value.model_dump(mode="json"), spelled)
    if isinstance(value, Mapping):
        return sorted(([repr(key), _shown(each, spelled)] for key, each in value.items()), key=repr)
    if isinstance(value, list | tuple):
        return [_shown(each, spelled) for each in value]
    if isinstance(value, Set):
        return sorted((_shown(each, spelled) for each in value), key=repr)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, [_shown(getattr(value, one.name), spelled) for one in dataclasses.fields(value)]]
    if hasattr(value, "tolist"):
        return _of_array(value, spelled)
    if " at 0x" in (text := repr(value)):
        raise _NoText
    return text


def _of_array(value: Any, spelled: Callable[[str], str]) -> Any:
    """Arrays and numbers of numpy, or alike: their own `repr` leaves out the middle."""
    if getattr(value, "ndim", 0) and not getattr(getattr(value, "dtype", None), "hasobject", True):
        return [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
    return _shown(value.tolist(), spelled)
