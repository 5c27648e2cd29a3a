"""After promotion: false alarms under continuous looking, and how soon a worse or broken canary is noticed.

Through the functions that decide in the guardrail's rollouts (`bench/guardrail/rollouts.py`, which has more rates)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from bench.evolution.numbers import median, share, upper_bound
from bench.evolution.report import table, write_section
from bench.evolution.rows import Rows
from bench.evolution.sizes import Size
from bench.guardrail import rollouts

TITLE = "Online"
RATES = (0.5, 0.7, 0.9, 0.97)
NOTICED = 1000
"""Rollouts a drop: of 200 the median is uncertain by 15 runs."""
DROPS = ((0.9, 0.7), (0.8, 0.6), (0.7, 0.5), (0.5, 0.3))
KNOWN = ((1.0, 20), (0.9, 20), (1.0, 0))


def run(size: Size) -> None:
    rows = Rows("online")
    alarms = [(rate, *rows.get(["alarms", rate], partial(rollouts.false_rollbacks, rate))) for rate in RATES]
    noticed = [
        (pair, rows.get(["noticed", *pair, NOTICED], partial(rollouts.noticed, pair[1], pair[0], NOTICED))) for pair in DROPS
    ]
    broken = [(pair, rows.get(["broken", *pair], partial(rollouts.canary_runs_of_a_broken_one, *pair))) for pair in KNOWN]
    lines = [
        "Simulated rollouts, looked at after every run; half of the runs get the canary. The kernel alone, two-sided and",
        "one-sided, on other ramps and beside a test for fixed n: [evidence.md](evidence.md). Further rates:",
        "[rollouts.md](rollouts.md).\n",
        table(("both arms succeed in", "rolled back within 1000 runs", "upper bound"), _alarm_rows(alarms)),
        "\nTarget: at most 5%.\n",
        table(
            (f"control to canary, {NOTICED} rollouts", "runs of both arms until noticed, median", "90%", "not within 1000"),
            map(_drop, noticed),
        ),
        "\nTarget for a drop of 20 points: a median of 160 runs.\n",
        table(("canary always fails; control succeeds in", "canary runs, median", "most", "within 10"), map(_broken, broken)),
        "\nTarget: within 10 runs. With no run of the control known before, as in the last row, little speaks against the canary.",
    ]
    write_section(TITLE, "\n".join(lines), size.results)


def _alarm_rows(alarms: list[tuple[float, int, float, float]]) -> Iterator[tuple[object, ...]]:
    for rate, count, _, _ in alarms:
        yield f"{rate:.0%}", share(count, rollouts.ROLLOUTS), f"{upper_bound(count, rollouts.ROLLOUTS):.1%}"


def _drop(row: tuple[tuple[float, float], list[int]]) -> tuple[object, ...]:
    (control, canary), runs = row
    late = sum(count >= rollouts.RUNS for count in runs)
    return f"{control:.0%} to {canary:.0%}", median(runs), f"{np.quantile(runs, 0.9):.0f}", late


def _broken(row: tuple[tuple[float, int], list[int]]) -> tuple[object, ...]:
    (control, known), runs = row
    within = sum(count <= 10 for count in runs)
    return f"{control:.0%}, {known} runs of it known", f"{np.median(runs):.0f}", max(runs), share(within, len(runs))
