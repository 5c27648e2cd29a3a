"""Tables 1 and 2: what a durable step costs, and how many short runs a second an engine does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.executor.loads import AT_ONCE, LONG, SHORT, Engine, Load, Plan, share
from bench.executor.rounds import Compared, interleaved


@dataclass(frozen=True)
class StepRound:
    """Seconds, medians of one round."""

    run: float
    """A run of `SHORT` steps, from its start to its result at who started it."""
    step: float
    """One step more, journal acknowledged before the next."""


async def compare_steps(engines: Sequence[Engine], plan: Plan) -> Compared[StepRound]:
    async def measure(engine: Engine) -> StepRound:
        short = await engine.measure(Load(SHORT, share(plan.short_runs, engine, plan)))
        long = await engine.measure(Load(LONG, share(plan.long_runs, engine, plan)))
        run = median(short.each)
        return StepRound(run, (median(long.each) - run) / (LONG - SHORT))

    return await interleaved("a step", engines, measure, plan)


async def compare_rates(engines: Sequence[Engine], plan: Plan) -> Compared[float]:
    """Runs of `SHORT` steps a second, `AT_ONCE` under way."""

    async def measure(engine: Engine) -> float:
        runs = share(plan.parallel_runs, engine, plan)
        sample = await engine.measure(Load(SHORT, runs, AT_ONCE))
        return len(sample.each) / sample.seconds

    return await interleaved("runs a second", engines, measure, plan)


async def warm_up(engine: Engine, plan: Plan) -> None:
    runs = share(plan.warm_up, engine, plan)
    for load in (Load(SHORT, runs), Load(LONG, 1), Load(SHORT, runs, AT_ONCE)):
        await engine.measure(load)
