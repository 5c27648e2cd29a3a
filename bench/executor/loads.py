"""What is measured of every engine alike, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

SHORT, LONG = 3, 23
"""Steps of a short and a long run: their difference holds no start and no end of a run, only steps."""
AT_ONCE = 32


@dataclass(frozen=True)
class Load:
    """Runs of no-op steps, at most `at_once` under way."""

    steps: int
    runs: int
    at_once: int = 1


@dataclass(frozen=True)
class Sample:
    seconds: float
    """From the first run's start to the last one's end."""
    each: Sequence[float]
    """Seconds from a run's start to its result at who started it."""


class Engine(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def slow(self) -> bool:
        """Measured with fewer runs a round."""
        ...

    async def measure(self, load: Load) -> Sample:
        """Raises `EngineFailedError` where a run failed or the engine is gone."""
        ...


class EngineFailedError(Exception):
    """An engine could not be started or measured; the others are measured without it."""


@dataclass(frozen=True)
class Plan:
    """How much is measured. The numbers of runs are those of a round."""

    rounds: int
    at_most_seconds: float
    """No further round of a table begins after this time."""
    warm_up: int
    short_runs: int
    long_runs: int
    parallel_runs: int
    slow_share: float
    """Of these numbers for engines that take tens of milliseconds a step."""
    start_rounds: int
    starts: int
    flight_rounds: int
    flight_runs: int
    patient_call_seconds: float
    """Of the flight with calls that are long enough for the processor to keep up; measured once."""
    sharing_runs: int
    """Of the comparison of one executor with two."""


FULL = Plan(
    rounds=12,
    at_most_seconds=150.0,
    warm_up=60,
    short_runs=40,
    long_runs=16,
    parallel_runs=320,
    slow_share=0.2,
    start_rounds=5,
    starts=250,
    flight_rounds=3,
    flight_runs=1000,
    patient_call_seconds=10.0,
    sharing_runs=64,
)
QUICK = Plan(
    rounds=2,
    at_most_seconds=60.0,
    warm_up=2,
    short_runs=3,
    long_runs=2,
    parallel_runs=32,
    slow_share=0.4,
    start_rounds=2,
    starts=3,
    flight_rounds=1,
    flight_runs=6,
    patient_call_seconds=0.5,
    sharing_runs=4,
)


def share(runs: int, engine: Engine, plan: Plan) -> int:
    return max(2, round(runs * plan.slow_share)) if engine.slow else runs
