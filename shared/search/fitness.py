"""Fitness of candidates that met different cases: how much better than usual each did on its own cases.

Case effects are taken out because who happened to meet easy cases is not fit; few cases pull to 0. (A two-way additive model with
shrinkage: Henderson 1975.)"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from shared.search.candidates import Entry

_CASE_WEIGHT = 2.0
"""A case's mean is pulled to the mean of all as if so many more candidates had scored that."""
_ENTRY_WEIGHT = 4.0
"""A candidate's fitness is pulled to 0 as if so many more cases had said so."""


def case_means(entries: Iterable[Entry]) -> dict[str, float]:
    """Mean grade of each case over the candidates that met it; failures count as 0."""
    sums: dict[str, float] = {}
    seen: dict[str, int] = {}
    for entry in entries:
        for case, grade in entry.grades.items():
            sums[case] = sums.get(case, 0.0) + (grade or 0.0)
            seen[case] = seen.get(case, 0) + 1
    level = math.fsum(sums.values()) / sum(seen.values()) if seen else 0.0
    return {case: (sums[case] + _CASE_WEIGHT * level) / (seen[case] + _CASE_WEIGHT) for case in sums}


def fitness(entry: Entry, usual: Mapping[str, float]) -> float:
    """`usual`: `case_means` of a set of entries that this one belongs to."""
    surplus = sum((grade or 0.0) - usual[case] for case, grade in entry.grades.items())
    return surplus / (len(entry.grades) + _ENTRY_WEIGHT)
