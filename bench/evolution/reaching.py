"""Calls until a search gives something of 95% of the best known quality: the smallest budget of a ladder with which it does.

A competitor that says while it runs what it would give (gepa) is run once with the largest budget and judged at every step of
the ladder; the others are run with one budget after another, each from the start."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from bench.evolution.competitors import count_for, installed, ready, solved
from bench.evolution.numbers import ratio, share
from bench.evolution.ours import SearchAlone
from bench.evolution.peer_process import PeerProcess
from bench.evolution.planted import FAMILIES, Landscape, best_quality
from bench.evolution.problems import Competitor, landscape_problem
from bench.evolution.report import table, write_section
from bench.evolution.rows import Rows
from bench.evolution.sizes import Size

TITLE = "Calls to 95% of the best known"
LADDER = (250, 350, 500, 700, 1000, 1400, 2000, 2800, 4000)
SHARE = 0.95
STRATEGIES = ("guided", "climb", "genetic")
_TELLING = ("gepa",)
"""Libraries whose peers tell every step."""
Calls = Mapping[str, Mapping[tuple[str, int], int | None]]
"""Competitor -> (family, landscape) -> calls, None where the ladder ended before."""


def run(size: Size) -> None:
    rows, calls = Rows("reaching"), {}
    competitors: list[Competitor] = [*installed(), *(SearchAlone(name) for name in STRATEGIES)]
    for competitor in competitors:
        with ready(competitor):
            calls[competitor.name] = dict(_calls(rows, competitor, count_for(competitor, size.reaching)))
        write_section(TITLE, text(calls), size.results)


def _calls(rows: Rows, competitor: Competitor, count: int) -> Iterator[tuple[tuple[str, int], int | None]]:
    for family, make in FAMILIES.items():
        for number in range(count):
            landscape = make(number)
            best = rows.get(["best known", family, number], partial(best_quality, landscape, random.Random(number)))
            yield (family, number), _first(rows, competitor, family, landscape, SHARE * best)


def _first(rows: Rows, competitor: Competitor, family: str, landscape: Landscape, wanted: float) -> int | None:
    if isinstance(competitor, PeerProcess) and competitor.library in _TELLING:
        steps = solved(rows, competitor, [family], landscape_problem(landscape, LADDER[-1])).steps
        reached = (count for count, best in steps if landscape.quality(best) >= wanted)
        first = next(reached, None)
        return None if first is None else next(budget for budget in LADDER if budget >= first)
    for budget in LADDER:
        found = solved(rows, competitor, [family], landscape_problem(landscape, budget))
        if landscape.quality(found.best) >= wanted:
            return budget
    return None


def text(calls: Calls) -> str:
    lines = [
        f"The smallest budget of {', '.join(map(str, LADDER))} with which a competitor gives something of at least {SHARE:.0%} of",
        "the best known quality (pairwise ascent on the truth from seven starts); where none does, the largest is counted, which",
        "favours whoever fails more often. Target: the mean at most 0.7 of gepa's. gepa is run once with the largest budget and",
        "judged by what it would give at every step; the others start anew with every budget, of which only the last counts.\n",
        table(("competitor", "landscapes", "reached", *FAMILIES, "mean calls, all"), (_row(name, calls[name]) for name in calls)),
        "",
        table(("strategy", "beside", "landscapes", "ratio of mean calls"), _ratios(calls)),
    ]
    return "\n".join(lines)


def _row(name: str, found: Mapping[tuple[str, int], int | None]) -> tuple[object, ...]:
    reached = sum(calls is not None for calls in found.values())
    means = [f"{_mean([calls for (owner, _), calls in found.items() if owner == family]):.0f}" for family in FAMILIES]
    return name, len(found), share(reached, len(found)), *means, f"{_mean(list(found.values())):.0f}"


def _ratios(calls: Calls) -> Iterator[tuple[object, ...]]:
    for name in (one for one in calls if one in STRATEGIES):
        for peer in (one for one in calls if one not in STRATEGIES):
            both = [key for key in calls[name] if key in calls[peer]]
            ours, theirs = ([_counted(calls[owner][key]) for key in both] for owner in (name, peer))
            yield name, peer, len(both), ratio(ours, theirs)


def _mean(calls: Sequence[int | None]) -> float:
    return sum(map(_counted, calls)) / len(calls)


def _counted(calls: int | None) -> float:
    return float(LADDER[-1] if calls is None else calls)
