"""What a generation of 50 costs in a race, and how often the truly best is lost; more races: `bench/evolution/racing.py`."""

from __future__ import annotations

import asyncio
from functools import partial

from bench.evolution import racing
from bench.evolution.numbers import share
from bench.evolution.report import table, write_section
from bench.evolution.rows import Rows
from bench.evolution.sizes import Size
from shared.search.strategies import Genetic
from shared.search.strategies.racing import Race

TITLE = "Racing"
GENERATIONS = 1000


def _raced(race: Race, gap: float) -> tuple[float, int]:
    return asyncio.run(racing.shares(race, gap, GENERATIONS))


def run(size: Size) -> None:
    rows, race = Rows("racing"), Genetic().race
    full = Race(race.rungs[-1:], 1.0)
    found = {}
    for gap in racing.GAPS:
        key = ["race", race.rungs, race.survivors, race.panel, gap, GENERATIONS]
        found[gap] = rows.get(key, partial(_raced, race, gap)), rows.get(["full", *key[1:]], partial(_raced, full, gap))
    lines = [
        f"{GENERATIONS} generations a row of {racing.POPULATION} individuals in the default race ({race.rungs} cases, a share of "
        f"{race.survivors:g} goes on,\na share of {race.panel:g} meets all cases before and tells which come first); lost: the "
        f"truly best is not among the elite of {racing.ELITE} afterwards.\n"
        "Other races: [racing.md](racing.md).\nTargets: a cost of at most 0.3 of measuring all fully, lost in at most 5%.\n",
        table(
            ("the best is ahead by, points", "cost, share of full", "the best is lost", "lost by measuring all fully"),
            (
                (f"{100 * gap:.0f}", f"{cost:.2f}", share(lost, GENERATIONS), share(anyway, GENERATIONS))
                for gap, ((cost, lost), (_, anyway)) in found.items()
            ),
        ),
    ]
    write_section(TITLE, "\n".join(lines), size.results)
