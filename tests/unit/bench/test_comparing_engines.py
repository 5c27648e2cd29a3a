"""Rounds, ratios and how failures of engines are told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from bench.executor.engines_compared import compare_rates, compare_steps
from bench.executor.evoline_client import EVOLINE
from bench.executor.intervals import estimate, percentile, ratios
from bench.executor.loads import AT_ONCE, LONG, QUICK, SHORT, EngineFailedError, Load, Sample
from bench.executor.report import Results, report

PLAN = replace(QUICK, rounds=4)


@dataclass
class PlannedEngine:
    """Takes `start` seconds for a run and `step` for each of its steps; fails at the load of that number."""

    name: str
    step: float
    start: float = 0.01
    slow: bool = False
    fails_at: int = -1
    loads: list[Load] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    async def measure(self, load: Load) -> Sample:
        self.loads.append(load)
        self.order.append(self.name)
        if len(self.loads) == self.fails_at:
            raise EngineFailedError("the disk is | full")
        run = self.start + self.step * load.steps
        return Sample(run * load.runs / load.at_once, [run] * load.runs)


async def test_a_step_is_the_difference_of_long_and_short_runs() -> None:
    ours, peer = PlannedEngine(EVOLINE, 0.002), PlannedEngine("Peer", 0.005, start=0.5)
    compared = await compare_steps([ours, peer], PLAN)
    assert [each.step for each in compared.measured["Peer"]] == pytest.approx([0.005] * 4)
    assert [each.run for each in compared.measured["Peer"]] == pytest.approx([0.5 + SHORT * 0.005] * 4)
    assert {load.steps for load in peer.loads} == {SHORT, LONG}
    text = report(Results(PLAN, "test", "today", steps=compared))
    assert "| Peer | 5.00 [5.00, 5.00] | 2.50 [2.50, 2.50] | 515.0 [515.0, 515.0] | 4 |" in text


async def test_engines_take_turns_and_the_order_is_turned_around_each_round() -> None:
    order: list[str] = []
    engines = [PlannedEngine(name, 0.001, order=order) for name in (EVOLINE, "B", "C")]
    await compare_rates(engines, PLAN)
    assert order == [EVOLINE, "B", "C", "C", "B", EVOLINE] * 2


async def test_runs_a_second_are_taken_with_many_under_way() -> None:
    ours, slow = PlannedEngine(EVOLINE, 0.002), PlannedEngine("Slow", 0.008, start=0.04, slow=True)
    compared = await compare_rates([ours, slow], PLAN)
    assert compared.measured[EVOLINE] == pytest.approx([AT_ONCE / 0.016] * 4)
    assert slow.loads[0].runs < ours.loads[0].runs
    assert "| Slow | 500 [500, 500] | 4.00 [4.00, 4.00] | 4 |" in report(Results(PLAN, "test", "today", rates=compared))


async def test_a_peer_that_fails_is_told_with_its_error_and_the_others_go_on() -> None:
    ours, peer = PlannedEngine(EVOLINE, 0.002), PlannedEngine("Peer", 0.005, fails_at=2)
    compared = await compare_rates([ours, peer], PLAN)
    assert len(compared.measured[EVOLINE]) == PLAN.rounds
    assert compared.failed == {"Peer": "the disk is | full"}
    assert "| Peer | not measured: the disk is / full | - | - |" in report(Results(PLAN, "test", "today", rates=compared))


async def test_without_evoline_nothing_is_compared() -> None:
    with pytest.raises(EngineFailedError):
        await compare_rates([PlannedEngine(EVOLINE, 0.002, fails_at=1)], PLAN)


def test_an_interval_holds_the_median_and_narrows_with_agreement() -> None:
    spread, agreed = estimate([1.0, 2.0, 3.0, 4.0, 9.0]), estimate([2.9, 3.0, 3.0, 3.0, 3.1])
    assert spread.middle == agreed.middle == 3.0
    assert spread.low < agreed.low <= 3.0 <= agreed.high < spread.high
    assert estimate([7.0]).text(1, " s") == "7.0 s [7.0, 7.0]"


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, 30.0], [1.0, 10.0]) == [2.0, 3.0]
    assert percentile([float(value) for value in range(101)], 99) == 99.0
