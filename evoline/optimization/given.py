"""Kinds of the arguments of `optimize`: a wrong one is named instead of failing somewhere inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from shared.errors import InvalidInputError, Problem
from shared.search.objectives import Weights

MOST_WORKERS = 1024
SEEDS = 2**32
"""Seed numbers are below; negative ones draw what positive ones draw."""

MOST_EVALUATIONS = 10**9
"""More than any search asks for."""
_LONGEST = 10**12
"""Larger ones are not written out in a message."""


def check_given(seed: Any, evaluate: Any, splits: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """`others`: all other arguments by name. Raises `InvalidInputError` with everything of a wrong kind, and numbers that make no
    sense."""
    proposer = others["proposer"]
    problems = [
        *_wrong("seed", seed, isinstance(seed, Mapping), "a pipeline document or a map of names to texts"),
        *_wrong("evaluate", evaluate, callable(evaluate), "a function (candidate, case) -> score from 0 to 1"),
        *_wrong("proposer", proposer, proposer is None or callable(proposer), "a function (parent, feedback) -> candidate"),
        *_budget(others["budget"]),
        *_whole("workers", others["workers"], 1, MOST_WORKERS),
        *_whole("seed_number", others["seed_number"], 0, SEEDS - 1),
        *_level("alpha", others["alpha"]),
        *_options(others),
    ]
    for name, cases in splits.items():
        # A set has another order in each process: no search on it could be repeated, or gone on with.
        is_list = isinstance(cases, Iterable) and not isinstance(cases, str | bytes | Mapping | Set)
        problems += _wrong(name, cases, is_list, "a list of cases")
    if problems:
        raise InvalidInputError(problems)


def _options(others: Mapping[str, Any]) -> list[Problem]:
    strategy, operators, journal = others["strategy"], others["operators"], others["journal"]
    is_strategy = isinstance(strategy, str) or (isinstance(getattr(strategy, "name", None), str) and callable(_search_of(strategy)))
    is_file = journal is None or (isinstance(journal, str | Path) and "\0" not in str(journal))
    told = others["on_progress"]
    return [
        *_wrong("strategy", strategy, is_strategy, "the name of a strategy, or an object with `name` and `search`"),
        *_wrong("operators", operators, operators is None or _is_list(operators, str), "a list of names, or none for all"),
        *_wrong("models", others["models"], _is_list(others["models"], str), "a list of names, as claude:NAME"),
        *_wrong("borrow", others["borrow"], _is_list(others["borrow"], Mapping), "a list of pipeline documents"),
        *_weights(others["weights"]),
        *_wrong("journal", journal, is_file, "the path of a file"),
        *_wrong("on_progress", told, told is None or callable(told), "a function (progress)"),
    ]


def _search_of(strategy: Any) -> Any:
    return None if isinstance(strategy, type) else getattr(strategy, "search", None)


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, kind) for each in value)


def _weights(weights: Any) -> list[Problem]:
    wanted = "a map of objectives to numbers from 0 to 1, as {'cost': 0.05}"
    if weights is None or isinstance(weights, Weights):
        return []
    if not isinstance(weights, Mapping):
        return _wrong("weights", weights, False, wanted)
    found = []
    for name, value in weights.items():
        found += _wrong("weights", name, isinstance(name, str), wanted)
        found += _wrong(f"weights.{name}", value, isinstance(value, Real) and not isinstance(value, bool), wanted)
    return found


def _budget(value: Any) -> list[Problem]:
    """Too small a one is told with the smallest that would do, by whoever plans with it."""
    wanted = f"a whole number of evaluations, at most {MOST_EVALUATIONS}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        return _wrong("budget", value, False, wanted)
    return [] if int(value) <= MOST_EVALUATIONS else [_outside("budget", int(value), wanted)]


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
