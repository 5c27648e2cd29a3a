"""The caller's `evaluate`, counted: every (candidate, case) once, in the budget before it is called, whatever the workers."""

from __future__ import annotations

import asyncio
import copy
import inspect
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from evoline.optimization.journal import Journal
from shared.search.candidates import Candidate
from shared.search.objectives import MEASURES
from shared.search.strategies import SearchOverError

Evaluate = Callable[[Any, Any], Any]
"""(candidate, case) -> score, (score, feedback) or (score, feedback, use); may be asynchronous. `use`: a map with what is known of
`tokens`, `cost_usd` and `seconds`."""
_LONGEST_FEEDBACK = 2000
_MOST_USED = 1e15
"""Tokens, dollars or seconds of one evaluation: more is no measurement."""


@dataclass(frozen=True)
class Measured:
    grade: float | None
    """None where there is no valid score: a failure, which counts as 0."""
    feedback: str
    use: Mapping[str, float] = field(default_factory=dict)


class CountingArena:
    """Implements the strategies' `Arena`. `limit` is raised stage by stage by the owner."""

    def __init__(
        self, evaluate: Evaluate, cases: Mapping[str, Any], journal: Journal, *, workers: int, on_measured: Callable[[], None]
    ) -> None:
        self._evaluate = evaluate
        self._cases = cases
        self._journal = journal
        self._workers = workers
        self._on_measured = on_measured
        self._rows: dict[tuple[str, str], Measured] = {}
        self._uses: dict[str, dict[str, Mapping[str, float]]] = {}
        self.limit = 0
        self.spent = 0
        self.called = 0
        """Calls of this process; the others came from the journal."""
        self.failures: Counter[str] = Counter()

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.spent)

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        wanted = [(candidate, case) for case in cases for candidate in _in_turn(candidates, case)]
        new = list({(one.digest, case): (one, case) for one, case in wanted if (one.digest, case) not in self._rows}.values())
        if len(new) > self.remaining:
            told = f"this stage used up its share of the budget: {self.remaining} evaluations left, {len(new)} needed"
            raise SearchOverError("evaluations", told)
        self.spent += len(new)
        for (candidate, case), measured in zip(new, await self._all(new), strict=True):
            self._rows[candidate.digest, case] = measured
            if measured.use:
                self._uses.setdefault(candidate.digest, {})[case] = measured.use
            if measured.grade is None:
                self.failures[measured.feedback] += 1
        if new:
            self._on_measured()
        return [[self._rows[one.digest, case].grade for case in cases] for one in candidates]

    def uses(self, digest: str) -> Mapping[str, Mapping[str, float]]:
        return self._uses.get(digest, {})

    def explain(self, digest: str, case: str) -> Mapping[str, Any]:
        return {"Inputs": self._cases[case], "Feedback": self._rows[digest, case].feedback}

    def wrong(self, digest: str) -> list[tuple[Any, float, str]]:
        """(case, score, feedback) of what this candidate did not do perfectly, worst first."""
        rows = [(self._cases[case], row) for (owner, case), row in self._rows.items() if owner == digest]
        found = [(case, row.grade or 0.0, row.feedback) for case, row in rows if (row.grade or 0.0) < 1.0]
        return sorted(found, key=lambda one: one[1])

    async def _all(self, pairs: Sequence[tuple[Candidate, str]]) -> list[Measured]:
        if self._workers == 1:
            return [await self._one(candidate, case, None) for candidate, case in pairs]
        turns = asyncio.Semaphore(self._workers)
        with ThreadPoolExecutor(self._workers) as threads:

            async def one(candidate: Candidate, case: str) -> Measured:
                async with turns:
                    return await self._one(candidate, case, threads)

            return await asyncio.gather(*(one(candidate, case) for candidate, case in pairs))

    async def _one(self, candidate: Candidate, case: str, threads: ThreadPoolExecutor | None) -> Measured:
        key = f"{candidate.digest}:{case}"
        if key in self._journal:
            return remembered(self._journal.get(key))
        measured = await self._called(candidate, case, threads)
        self._journal.keep(key, [measured.grade, measured.feedback, *([dict(measured.use)] if measured.use else [])])
        return measured

    async def _called(self, candidate: Candidate, case: str, threads: ThreadPoolExecutor | None) -> Measured:
        await asyncio.sleep(0)  # where nothing else pauses, Ctrl-C would end nothing before the search does
        self.called += 1
        arguments = (_copied(candidate.document), copied(self._cases[case]))
        try:
            if inspect.iscoroutinefunction(self._evaluate) or threads is None:
                answer = self._evaluate(*arguments)
            else:
                answer = await asyncio.get_running_loop().run_in_executor(threads, _answered, self._evaluate, *arguments)
            if inspect.isawaitable(answer):
                answer = await answer
        except (Exception, asyncio.CancelledError) as error:
            if is_to_end(error):
                raise
            return _failed(error)
        return answer if isinstance(answer, Measured) else checked(answer)


def _answered(evaluate: Evaluate, candidate: Any, case: Any) -> Any:
    """In a worker's thread. A `StopIteration`, as `next` raises where nothing is left, would never come out of it: who waits for
    the thread's answer would wait for ever."""
    try:
        return evaluate(candidate, case)
    except StopIteration as error:
        return _failed(error)


def is_to_end(error: BaseException) -> bool:
    """Whether the search itself is cancelled, not something of the caller's own."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


def _failed(error: BaseException) -> Measured:
    return Measured(None, f"evaluate raised {type(error).__name__}: {written(error)}"[:_LONGEST_FEEDBACK])


def checked(answer: Any) -> Measured:
    """A score is a number in [0, 1]. Anything else is a failed evaluation, never a success: True, NaN, text, none."""
    parts = answer if isinstance(answer, tuple) and len(answer) in (2, 3) else (answer, "")
    score, feedback, use = (*parts, {})[:3]
    if fault := _use_fault(use):
        return Measured(None, fault)
    if isinstance(score, bool) or not isinstance(score, Real):
        return Measured(None, f"evaluate gave {_shown(score)} as a score: give a number from 0 to 1")
    if not 0.0 <= (number := _as_float(score)) <= 1.0:
        return Measured(None, f"evaluate gave the score {_shown(score)}: give a number from 0 to 1")
    return Measured(number, written(feedback)[:_LONGEST_FEEDBACK], {name: float(value) for name, value in use.items()})


def _use_fault(use: Any) -> str:
    """Why this is no map of what an evaluation used; empty where it is one."""
    if not isinstance(use, Mapping) or (unknown := sorted(map(_plainly, set(use) - set(MEASURES)))):
        given = ", ".join(unknown)[:100] if isinstance(use, Mapping) else _shown(use)
        return f"evaluate gave {given} as its use: give a map with some of {', '.join(MEASURES)}"
    for name, value in use.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= _as_float(value) <= _MOST_USED:
            return f"evaluate gave {_shown(value)} as its {name}: give a number from 0 to {_MOST_USED:g}"
    return ""


def remembered(line: Any) -> Measured:
    """A line of the journal is believed no more than `evaluate` is."""
    grade, feedback, use = (*line, {})[:3] if isinstance(line, list) and len(line) in (2, 3) else (line, "", {})
    return Measured(None, str(feedback)) if grade is None else checked((grade, feedback, use))


def _in_turn(candidates: Sequence[Candidate], case: str) -> list[Candidate]:
    """Who meets a case first is drawn for each: what gets better or worse with every call, as a provider near its limits or a
    warm cache, strikes all alike."""
    turns = list(candidates)
    if len(turns) > 1:
        random.Random(f"turns:{case}").shuffle(turns)  # noqa: S311 - a reproducible order, no secret
    return turns


def copied(case: Any) -> Any:
    """So that nobody who is given a case changes what others are measured by."""
    try:
        return copy.deepcopy(case)
    except Exception:
        return case  # what cannot be copied, an open file for one, is the caller's to guard


def _copied(document: Mapping[str, Any]) -> dict[str, Any]:
    """For the caller to change as it likes. A map of texts needs no deep copy, which would take longer than all else here."""
    return dict(document) if all(type(value) is str for value in document.values()) else copy.deepcopy(dict(document))


def _as_float(number: Real) -> float:
    """Not a number where no float is as large."""
    try:
        return float(number)
    except OverflowError:
        return math.nan


def _shown(score: Any) -> str:
    return f"{_plainly(score)} ({type(score).__name__})"[:100]


def _plainly(value: Any) -> str:
    return value if isinstance(value, str) else written(value, repr)


def written(value: Any, as_text: Callable[[Any], str] = str) -> str:
    """Whatever the caller's classes do when they are asked for a text."""
    try:
        return as_text(value)
    except Exception as error:  # also a whole number of thousands of digits
        return f"what cannot be written ({type(error).__name__})"
