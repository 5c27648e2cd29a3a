"""A/A: where no edit can help, who ships a change, and what gain is claimed for it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from bench.evolution.competitors import count_for, installed, ready, solved
from bench.evolution.numbers import points, share, upper_bound
from bench.evolution.ours import Certified
from bench.evolution.planted import flat
from bench.evolution.problems import Competitor, Found, landscape_problem
from bench.evolution.report import table, write_section
from bench.evolution.rows import Rows, so_far
from bench.evolution.sizes import Size

TITLE = "Honesty: no edit can help"
FLIPS, DEV_CASES, BUDGETS = (1.0, 0.3, 0.15), (50, 200), (500, 1500, 3000)
STRATEGIES = ("climb", "guided", "genetic")
SEALED = 200
LAST = ("optimize, genetic", "gepa, merging", "openevolve", "dspy MIPROv2", "dspy GEPA")
"""Measured after the others: an interrupted bench has what matters most."""


@dataclass(frozen=True)
class Cell:
    flip: float
    dev: int
    budget: int


CELLS = tuple(Cell(*cell) for cell in product(FLIPS, DEV_CASES, BUDGETS))


def run(size: Size) -> None:
    """In two rounds, a quarter of the seeds first: an interrupted bench has something of everything."""
    rows, peers = Rows("honesty", only_known=size.only_known), installed()
    competitors: list[Competitor] = sorted((*(Certified(name) for name in STRATEGIES), *peers), key=lambda one: one.name in LAST)
    wanted = {one.name: size.honesty_seeds for one in competitors} | {
        peer.name: count_for(peer, size.peer_honesty_seeds) for peer in peers
    }
    results: dict[tuple[str, Cell], list[Found]] = {}
    for part in (4, 1):
        for competitor in competitors:
            with ready(competitor):
                for cell in size.honesty_cells(CELLS):
                    seeds = max(1, wanted[competitor.name] // part)
                    results[competitor.name, cell] = so_far(answers(rows, competitor, cell, seeds))
            write_section(TITLE, text(results, list(wanted), [peer.name for peer in peers]), size.results)


def answers(rows: Rows, competitor: Competitor, cell: Cell, seeds: int) -> Iterator[Found]:
    for number in range(seeds):
        problem = landscape_problem(flat(number, flip=cell.flip), cell.budget, dev=cell.dev, sealed=SEALED)
        yield solved(rows, competitor, ["flat", cell.flip, cell.dev], problem)


def text(results: dict[tuple[str, Cell], list[Found]], names: Sequence[str], peers: Sequence[str]) -> str:
    lines = [
        f"Flat landscapes (`bench/evolution/planted.py`, true quality .6 everywhere), {SEALED} sealed cases, level .05, as many "
        "training as dev cases.\nTarget: certified at most 5%, upper bound (one-sided, exact) 8%; claims within 1 point of the "
        "truth, which is 0.",
        "\nAll cells together:\n",
        table(
            ("competitor", "runs", "ships a change as better", "upper bound", "claim minus truth, points", "most in a cell"),
            _sums(results, peers),
        ),
        "\nBy cell (certified, or shipped by a peer, of how many runs, with its upper bound; mean claim minus truth, points):\n",
        table(("flip", "dev", "budget", *names), _cells(results, names, peers)),
    ]
    return "\n".join(lines)


def ships(found: Found, *, is_peer: bool) -> bool:
    """A peer ships its best wherever it is not the seed; ours only what is certified."""
    return any(allele != "0" for allele in found.best.values()) if is_peer else found.verdict == "certified"


def _sums(results: dict[tuple[str, Cell], list[Found]], peers: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for name in dict.fromkeys(name for name, _ in results):
        cells = [found for (owner, _), found in results.items() if owner == name and found]
        if not cells:
            continue
        everything = [one for found in cells for one in found]
        shipped = sum(ships(one, is_peer=name in peers) for one in everything)
        worst = max(sum(ships(one, is_peer=name in peers) for one in found) / len(found) for found in cells)
        bound = f"{upper_bound(shipped, len(everything)):.1%}"
        yield (
            name,
            len(everything),
            share(shipped, len(everything)),
            bound,
            points([one.claim for one in everything]),
            f"{worst:.1%}",
        )


def _cells(
    results: dict[tuple[str, Cell], list[Found]], names: Sequence[str], peers: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    for cell in dict.fromkeys(cell for _, cell in results):
        shown = []
        for name in names:
            found = results.get((name, cell), [])
            shipped = sum(ships(one, is_peer=name in peers) for one in found)
            claim = sum(one.claim for one in found) / max(1, len(found))
            shown.append(
                f"{shipped} of {len(found)} (≤{upper_bound(shipped, len(found)):.1%}); {100 * claim:+.1f}" if found else "-"
            )
        yield cell.flip, cell.dev, cell.budget, *shown
