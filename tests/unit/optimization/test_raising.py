"""Whatever `evaluate` or a proposer raises is a failure that is told: it ends no search, and nobody waits for it for ever."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from evoline import Outcome, optimize
from tests.fakes.planted_task import SEED, SPLITS, Evaluator


class SilentError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def search(evaluate: Any, **changed: Any) -> Outcome:
    return optimize(SEED, evaluate, **{**SPLITS, "budget": 100, **changed})


def raising_at_times(error: Callable[[], BaseException]) -> Callable[[Any, Any], Any]:
    inner = Evaluator()

    def evaluate(candidate: dict[str, str], case: dict[str, Any]) -> Any:
        if case["input"]["n"].endswith("3"):
            raise error()
        return inner(candidate, case)

    return evaluate


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("error", [SilentError, asyncio.CancelledError, StopAsyncIteration])
def test_what_an_evaluator_raises_is_a_failed_evaluation(error: type[BaseException], workers: int) -> None:
    failures = search(raising_at_times(error), workers=workers).evidence.failures
    assert failures and all(told.startswith(f"evaluate raised {error.__name__}: ") for told in failures)


def test_a_cancelled_part_of_an_asynchronous_evaluator_is_a_failed_evaluation() -> None:
    async def evaluate(candidate: Any, case: Any) -> float:
        if case["input"]["n"].endswith("3"):
            part = asyncio.ensure_future(asyncio.sleep(60))
            part.cancel()
            await part
        return 0.5

    assert set(search(evaluate).evidence.failures) == {"evaluate raised CancelledError: "}


def test_nobody_waits_for_ever_for_an_evaluator_that_found_nothing_in_a_thread() -> None:
    """`next(found)` of nothing raises `StopIteration`. In a process of its own, which can be ended should it wait."""
    code = (
        "from tests.unit.optimization.test_raising import raising_at_times, search\n"
        "outcome = search(raising_at_times(StopIteration), workers=4)\n"
        "assert set(outcome.evidence.failures) == {'evaluate raised StopIteration: '}, outcome.evidence.failures"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


def test_a_proposer_whose_own_part_was_cancelled_is_told() -> None:
    def propose(parent: Any, feedback: Any) -> Any:
        raise asyncio.CancelledError

    assert search(Evaluator(), proposer=propose).evidence.proposals["refused"] > 0


def test_feedback_and_errors_that_cannot_be_written_end_nothing() -> None:
    def propose(parent: Any, feedback: Any) -> Any:
        raise SilentError

    outcome = search(lambda candidate, case: (0.5, SilentError()), proposer=propose, operators=())
    assert outcome.evidence.proposals["refused"] > 0
    assert any("it raised SilentError: what cannot be written" in reason for reason in outcome.evidence.reasons)
