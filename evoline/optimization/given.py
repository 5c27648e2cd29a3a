"""Kinds of the arguments of `optimize`: a wrong one is named instead of failing somewhere inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shared.errors import InvalidInputError, Problem


def check_given(seed: Any, evaluate: Any, splits: Mapping[str, Any], budget: Any, *, proposer: Any) -> None:
    """Raises `InvalidInputError` with everything that is of a wrong kind."""
    problems = [
        *_wrong("seed", seed, isinstance(seed, Mapping), "a pipeline document or a map of names to texts"),
        *_wrong("evaluate", evaluate, callable(evaluate), "a function (candidate, case) -> score from 0 to 1"),
        *_wrong("proposer", proposer, proposer is None or callable(proposer), "a function (parent, feedback) -> candidate"),
        *_wrong("budget", budget, isinstance(budget, int) and not isinstance(budget, bool), "a whole number of evaluations"),
    ]
    for name, cases in splits.items():
        problems += _wrong(
            name, cases, isinstance(cases, Iterable) and not isinstance(cases, str | bytes | Mapping), "a list of cases"
        )
    if problems:
        raise InvalidInputError(problems)


def _wrong(path: str, value: Any, is_right: bool, wanted: str) -> list[Problem]:
    return [] if is_right else [Problem(path=path, reason=f"is {type(value).__name__}", suggestion=f"give {wanted}")]
