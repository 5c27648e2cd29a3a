"""Kinds of the arguments of `optimize`: a wrong one is named instead of failing somewhere inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from shared.errors import InvalidInputError, Problem

MOST_WORKERS = 1024
SEEDS = 2**32
"""Seed numbers are below; negative ones draw what positive ones draw."""

_LONGEST = 10**12
"""Larger ones are not written out in a message."""


def check_given(
    seed: Any, evaluate: Any, splits: Mapping[str, Any], budget: Any, *, proposer: Any, numbers: Mapping[str, Any]
) -> None:
    """Raises `InvalidInputError` with everything that is of a wrong kind, and the `numbers` by name that make no sense."""
    problems = [
        *_wrong("seed", seed, isinstance(seed, Mapping), "a pipeline document or a map of names to texts"),
        *_wrong("evaluate", evaluate, callable(evaluate), "a function (candidate, case) -> score from 0 to 1"),
        *_wrong("proposer", proposer, proposer is None or callable(proposer), "a function (parent, feedback) -> candidate"),
        *_wrong("budget", budget, isinstance(budget, int) and not isinstance(budget, bool), "a whole number of evaluations"),
        *_whole("workers", numbers["workers"], 1, MOST_WORKERS),
        *_whole("seed_number", numbers["seed_number"], 0, SEEDS - 1),
        *_level("alpha", numbers["alpha"]),
    ]
    for name, cases in splits.items():
        problems += _wrong(
            name, cases, isinstance(cases, Iterable) and not isinstance(cases, str | bytes | Mapping), "a list of cases"
        )
    if problems:
        raise InvalidInputError(problems)


def _wrong(path: str, value: Any, is_right: bool, wanted: str) -> list[Problem]:
    return [] if is_right else [Problem(path=path, reason=f"is {type(value).__name__}", suggestion=f"give {wanted}")]


def _whole(path: str, value: Any, least: int, most: int) -> list[Problem]:
    wanted = f"a whole number from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        return _wrong(path, value, False, wanted)
    return [] if least <= int(value) <= most else [_outside(path, int(value), wanted)]


def _level(path: str, value: Any) -> list[Problem]:
    wanted = "a level between 0 and 0.5, usually 0.05"
    if isinstance(value, bool) or not isinstance(value, Real):
        return _wrong(path, value, False, wanted)
    is_in = 0.0 < value < 0.5  # type: ignore[operator]  # every `Real` can be compared, NaN is in no range
    return [] if is_in else [_outside(path, value, wanted)]


def _outside(path: str, value: Any, wanted: str) -> Problem:
    told = "too large" if isinstance(value, int) and abs(value) > _LONGEST else f"{value}"
    return Problem(path=path, reason=f"is {told}", suggestion=f"give {wanted}")
