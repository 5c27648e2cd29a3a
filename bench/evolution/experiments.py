"""How often an experiment names a winner where no variant is better: `python -m bench.evolution.experiments`.

Every variant has the stable revision's true quality. All meet the same cases; on a share of them (`own_luck`) a variant's answer is
drawn for itself, elsewhere it is the stable revision's, as edits of a prompt mostly leave answers as they are."""

from __future__ import annotations

import sys
import time

import numpy as np

from shared.evidence.scores import CONFIDENCE_Z, wilson_interval
from shared.evidence.variants import tested, winner_among

ALPHA = 0.05
ROWS = [(variants, cases, luck) for variants in (1, 2, 4, 8) for cases in (40, 200) for luck in (0.15, 0.3, 1.0)]


def false_winners(variants: int, cases: int, *, experiments: int, share: float, own_luck: float, seed: int) -> tuple[int, int]:
    """(experiments that named a winner, experiments)."""
    draw = np.random.default_rng(seed)
    wrong = 0
    for _ in range(experiments):
        stable = (draw.random(cases) < share).astype(float)
        own = (draw.random((variants, cases)) < share).astype(float)
        grades = np.where(draw.random((variants, cases)) < own_luck, own, stable)
        named = {f"v{number}": [float(grade) for grade in row] for number, row in enumerate(grades)}
        wrong += bool(winner_among(tested([float(grade) for grade in stable], named, ALPHA)))
    return wrong, experiments


def main(experiments: int = 1000) -> None:
    began = time.monotonic()
    print(f"{experiments} experiments a row, true quality 0.7, Holm at {ALPHA:g}; share with a winner and its 95% interval")
    for variants, cases, luck in ROWS:
        wrong, total = false_winners(variants, cases, experiments=experiments, share=0.7, own_luck=luck, seed=7)
        low, high = wilson_interval(wrong / total, total, CONFIDENCE_Z)
        print(
            f"{variants} variants, {cases:3d} cases, own luck {luck:.2f}: {wrong / total:.3f} [{low:.3f}, {high:.3f}]", flush=True
        )
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
