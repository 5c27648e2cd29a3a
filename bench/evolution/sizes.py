"""How much of each part runs: all of it, or `--quick`, which shows that everything works and proves little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.evolution.report import RESULTS
from bench.evolution.rows import FOLDER

T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    results: Path
    honesty_seeds: int
    """A cell."""
    peer_honesty_seeds: int
    landscapes: int
    """A family."""
    more_landscapes: int
    """A family, where few of them tell anything."""
    reaching: int
    """Landscapes a family whose calls to 95% are counted."""
    every_cell: bool = True
    only_known: bool = False
    """Nothing is measured: the sections show what there is so far."""
    real_budgets: tuple[int, ...] = (300, 600)
    real_tasks: int = 3

    def honesty_cells(self, cells: Sequence[T]) -> Sequence[T]:
        return cells if self.every_cell else cells[::6]


FULL = Size(RESULTS, honesty_seeds=200, peer_honesty_seeds=60, landscapes=60, more_landscapes=200, reaching=30)
QUICK = Size(
    FOLDER / "quick.md",
    honesty_seeds=6,
    peer_honesty_seeds=6,
    landscapes=2,
    more_landscapes=3,
    reaching=1,
    every_cell=False,
    real_budgets=(),
    real_tasks=1,
)
