"""Non-dominated sorting and crowding (NSGA-II: Deb, Pratap, Agarwal and Meyarivan 2002), by DEAP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Keys = Sequence[float]
"""One number an objective, better when higher."""


def fronts(points: Sequence[Keys]) -> list[list[int]]:
    """Positions of `points` by front: those that nothing dominates, then those that only they dominate, and so on.

    Points have the same number of objectives, at least one, all finite. Equal points share a front. Within a front in order."""
    if not points:
        return []
    tools, individuals = _individuals(points)
    sort = tools.sortLogNondominated if len(points[0]) > 1 else tools.sortNondominated
    return [sorted(one.position for one in front) for front in sort(individuals, len(individuals)) if front]


def crowding(points: Sequence[Keys]) -> list[float]:
    """How far each point's neighbours are, objective by objective; infinite for what is best or worst in one of them."""
    if not points:
        return []
    tools, individuals = _individuals(points)
    tools.emo.assignCrowdingDist(individuals)
    return [float(one.fitness.crowding_dist) for one in individuals]


class _Individual:
    def __init__(self, position: int, fitness: Any) -> None:
        self.position = position
        self.fitness = fitness


def _individuals(points: Sequence[Keys]) -> tuple[Any, list[_Individual]]:
    from deap import base, tools  # numpy and 0.5 s, for whoever sorts a front only

    fitness = type("Fitness", (base.Fitness,), {"weights": (1.0,) * len(points[0])})
    return tools, [_Individual(position, fitness(tuple(point))) for position, point in enumerate(points)]
