"""A/A honesty: where no edit can help, how often does the chain search, finalists, sealed gate certify a change?

`python bench/evolution/aa_honesty.py [--seeds 200]`. No model, no services: planted flat landscapes. Prints a table in Markdown."""

from __future__ import annotations

import argparse
import asyncio
import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from shared.evidence.paired import paired_test
from shared.evidence.scores import wilson_interval
from shared.search.strategies import Climb, Genetic, Strategy, run_finals
from tests.fakes.landscapes import GeneProposer, LandscapeArena, flat, genes_of

ALPHA = 0.05
SEALED_CASES = 100
FLIPS, DEV_CASES, BUDGETS = (1.0, 0.3, 0.15), (50, 200), (500, 1500)


async def shipped(strategy: Strategy, flip: float, dev: int, budget: int, seed: int) -> tuple[bool, bool]:
    """(proposed, certified) of one search on a landscape where every candidate equals the seed."""
    landscape, final = flat(flip=flip), round(budget * 0.35)
    cases = [f"{seed}-dev-{index}" for index in range(dev)]
    fresh, search = cases[: dev // 2], cases[dev // 2 :]
    arena = LandscapeArena(landscape, budget - final)
    found = await strategy.search(landscape.seed(), search, arena, GeneProposer(landscape), seed)
    chosen = [found.archive[digest].candidate for digest in found.ranking[:3]]
    finals = await run_finals(landscape.seed(), chosen, fresh, LandscapeArena(landscape, final), final)
    if finals.best is None:
        return False, False
    sealed = [f"{seed}-sealed-{index}" for index in range(SEALED_CASES)]
    ours = [landscape.grade(genes_of(finals.best.candidate), case) for case in sealed]
    theirs = [landscape.grade(genes_of(landscape.seed()), case) for case in sealed]
    return True, paired_test(ours, theirs, ALPHA).p_value_better <= ALPHA


async def main(seeds: int) -> None:
    print(f"alpha {ALPHA}, {SEALED_CASES} sealed cases, {seeds} seeds a row\n")
    print("| strategy | flip | dev cases | budget | proposed | certified | 95% interval |\n|---|---|---|---|---|---|---|")
    strategies: tuple[Strategy, ...] = (Climb(), Genetic())
    for strategy, flip, dev, budget in product(strategies, FLIPS, DEV_CASES, BUDGETS):
        outcomes = [await shipped(strategy, flip, dev, budget, seed) for seed in range(seeds)]
        proposed = sum(row[0] for row in outcomes) / seeds
        certified = sum(row[1] for row in outcomes) / seeds
        low, high = wilson_interval(certified, seeds, 1.96)
        print(
            f"| {strategy.name} | {flip} | {dev} | {budget} | {proposed:.2f} | {certified:.3f} | {low:.3f} to {high:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    asyncio.run(main(parser.parse_args().seeds))
