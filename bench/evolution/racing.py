"""Racing: what a generation of 50 costs against measuring all of it fully, and how often it loses the truly best individual.

`python -m bench.evolution.racing [--generations 1000]`. No model, no services. Writes `bench/results/racing.md`."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import platform
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.evidence.scores import wilson_interval
from shared.search.candidates import Candidate, Entry
from shared.search.fitness import case_means, fitness
from shared.search.strategies.racing import Race

RESULTS = Path(__file__).parents[1] / "results" / "racing.md"
POPULATION, ELITE = 50, 5
GAPS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
LEVEL, SPREAD = 0.5, 0.07
"""Qualities of the others: normal about the level, none within the gap below the best."""
FLIP = 0.3
"""Share of cases in which a candidate has luck of its own instead of the case's."""
RACES = {
    "4-7-10-13-32, half, panel": Race((4, 7, 10, 13, 32), 0.5, 0.06),
    "the same without panel": Race((4, 7, 10, 13, 32), 0.5),
    "4-9-14-16-20-32, 0.55": Race((4, 9, 14, 16, 20, 32), 0.55),
    "4-8-16-32, a third": Race((4, 8, 16, 32), 1 / 3),
    "7-14-32, a fifth": Race((7, 14, 32), 0.2),
    "full 32": Race((32,), 1.0),
    "14-28-64, a fifth": Race((14, 28, 64), 0.2),
    "full 64": Race((64,), 1.0),
}


@dataclass
class Generation:
    """Implements the strategies' `Arena`: 50 candidates of known quality, 0/1 grades with luck that candidates share."""

    number: int
    gap: float
    spent: int = 0

    def __post_init__(self) -> None:
        draw = random.Random(f"generation:{self.number}:{self.gap}")
        best = LEVEL + 2.2 * SPREAD + self.gap
        others = [min(best - self.gap, max(0.05, draw.gauss(LEVEL, SPREAD))) for _ in range(POPULATION - 1)]
        qualities = [best, *others]
        draw.shuffle(qualities)
        self.qualities = {f"{index:02d}": quality for index, quality in enumerate(qualities)}
        self.best = max(self.qualities, key=lambda name: self.qualities[name])

    @property
    def remaining(self) -> int:
        return 1_000_000

    @property
    def entries(self) -> list[Entry]:
        return [Entry(Candidate(name, {})) for name in self.qualities]

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        self.spent += len(candidates) * len(cases)
        return [[self._grade(one.digest, case) for case in cases] for one in candidates]

    def _grade(self, name: str, case: str) -> float:
        own = _uniform(f"{self.number}:{case}:{name}:own") < FLIP
        luck = _uniform(f"{self.number}:{case}:{name}") if own else _uniform(f"{self.number}:{case}")
        return float(luck < self.qualities[name])


async def lost(race: Race, generation: Generation) -> bool:
    """Whether the truly best is not among the elite after the race."""
    entries = generation.entries
    window = [f"case-{index}" for index in range(race.rungs[-1])]

    def ranked(some: Sequence[Entry]) -> list[Entry]:
        usual = case_means(entries)
        return sorted(some, key=lambda entry: -fitness(entry, usual))

    await race.run(entries, window, generation, ranked)
    return generation.best not in {entry.candidate.digest for entry in ranked(entries)[:ELITE]}


async def shares(race: Race, gap: float, generations: int) -> tuple[float, int]:
    """(cost as a share of measuring all fully, how often the best was lost)."""
    costs, losses = 0, 0
    for number in range(generations):
        generation = Generation(number, gap)
        losses += await lost(race, generation)
        costs += generation.spent
    return costs / (generations * POPULATION * race.rungs[-1]), losses


def _uniform(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


async def main(generations: int) -> None:
    seeds = f"seeds 0 to {generations - 1} a cell; Python {platform.python_version()}"
    lines = [
        "# Racing",
        "",
        f"`python -m bench.evolution.racing --generations {generations}`; {seeds}. Generations of {POPULATION}; lost: the",
        f"truly best is not among the elite of {ELITE} afterwards. Gap: how much better it is than the",
        "second. Intervals: Wilson, 95%.",
        "",
        "| gap, points | " + " | ".join(RACES) + " |",
        "|---|" + "---|" * len(RACES),
    ]
    costs = {}
    for gap in GAPS:
        cells = []
        for name, race in RACES.items():
            costs[name], losses = await shares(race, gap, generations)
            low, high = wilson_interval(losses / generations, generations, 1.96)
            cells.append(f"{100 * losses / generations:.1f}% ({100 * low:.1f} to {100 * high:.1f})")
        lines.append(f"| {100 * gap:.0f} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    lines.append("| cost, share of full | " + " | ".join(f"{costs[name]:.2f}" for name in RACES) + " |")
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(lines[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=1000)
    asyncio.run(main(parser.parse_args().generations))
