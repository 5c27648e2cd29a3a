"""Rounds in which every engine is measured once, in turn."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bench.executor.evoline_client import EVOLINE
from bench.executor.loads import Engine, EngineFailedError, Plan

T = TypeVar("T")


@dataclass
class Compared(Generic[T]):
    """Engine -> what was measured in each round, or why it was not measured."""

    measured: dict[str, list[T]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def in_turn(engines: Sequence[Engine], round_number: int) -> Sequence[Engine]:
    """A B C D, then D C B A, so that what drifts or warms up with time falls on all alike."""
    return engines if round_number % 2 == 0 else engines[::-1]


async def interleaved(what: str, engines: Sequence[Engine], measure: Callable[[Engine], Awaitable[T]], plan: Plan) -> Compared[T]:
    """An engine that fails is left out from then on, and told as failed. Raises `EngineFailedError` where Evoline fails."""
    compared: Compared[T] = Compared()
    begun = time.monotonic()
    for number in range(plan.rounds):
        if number >= 2 and time.monotonic() - begun > plan.at_most_seconds:
            break
        for engine in in_turn(engines, number):
            if engine.name not in compared.failed:
                await _measure_one(engine, measure, compared)
        progress(f"{what}: round {number + 1} of {plan.rounds}")
    return compared


async def _measure_one(engine: Engine, measure: Callable[[Engine], Awaitable[T]], compared: Compared[T]) -> None:
    try:
        value = await measure(engine)
    except EngineFailedError as error:
        if engine.name == EVOLINE:
            raise
        compared.failed[engine.name] = str(error)
        compared.measured.pop(engine.name, None)
    else:
        compared.measured.setdefault(engine.name, []).append(value)


def progress(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
