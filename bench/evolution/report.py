"""`bench/results/evolution.md`: one section a part, replaced when the part has run, in the order of the parts."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import scipy

from bench.evolution.rows import ROOT

RESULTS = ROOT / "bench" / "results" / "evolution.md"
TITLES = (
    "Honesty: no edit can help",
    "Planted landscapes: true gain",
    "Planted landscapes: what is shipped",
    "Calls to 95% of the best known",
    "Racing",
    "Real tasks, local model",
    "Grader exploits",
    "Online",
)
_HEAD = """# Evolution, measured

`make bench-evolution` writes this file, a section as its part is done; `BENCH_ARGS="--only PART"` runs one part, `--quick`
all in reduced size and into another file. Rows that were measured are kept in `.bench/evolution`, so that an interrupted bench
goes on. One evaluation server counts for all competitors: each (candidate, case) is made and counted once, and what would go
beyond the budget is refused. Peers run in environments of their own (`requirements/bench-*.lock`) and get the same cases and
budgets: gepa, with and without merging; openevolve, whose programs are worth their mean over all dev cases and whose model is
the shared proposer; dspy's GEPA (the same gepa inside, with merging) and MIPROv2 (one predictor a gene, three proposed alleles
beside the seed's, no examples; its trials are as many as surely fit the budget, so that it leaves a part of it).
Slow peers get the first of the same problems only; the number is told.
Strategies were tuned on landscapes of numbers from 1000 on; all that stands here was measured on others (0 to 199).
"""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def write_section(title: str, text: str, path: Path = RESULTS) -> None:
    sections = _sections(path)
    sections[title] = f"{text.strip()}\n\n*{_circumstances()}*\n"
    body = [f"## {name}\n\n{sections[name].strip()}\n" for name in TITLES if name in sections]
    path.write_text("\n".join([_HEAD, *body]))


def _sections(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    _, *parts = path.read_text().split("\n## ")
    return {part.partition("\n")[0].strip(): part.partition("\n")[2] for part in parts}


def _circumstances() -> str:
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return (
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} busy cores, after commit {git.stdout.strip() or 'unknown'}"
    )
