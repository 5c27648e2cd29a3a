"""The sort is DEAP's; what it must mean is written down here by brute force."""

from __future__ import annotations

import math
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.search.front import crowding, fronts

NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, -3.0, 120.0])
POINTS = st.integers(1, 4).flatmap(lambda size: st.lists(st.lists(NUMBERS, min_size=size, max_size=size), max_size=25))


def dominates(ours: list[float], theirs: list[float]) -> bool:
    return all(a >= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs


@settings(max_examples=150, deadline=None)
@given(POINTS)
def test_each_front_is_what_nothing_that_is_left_dominates(points: list[list[float]]) -> None:
    left = set(range(len(points)))
    for front in fronts(points):
        best = {one for one in left if not any(dominates(points[other], points[one]) for other in left)}
        assert set(front) == best and front == sorted(front)
        left -= best
    assert not left


def test_the_ends_of_a_front_are_never_crowded_and_the_closest_pair_is_the_most() -> None:
    distances = crowding([[0.0, 1.0], [0.5, 0.5], [0.52, 0.48], [0.54, 0.46], [1.0, 0.0]])
    assert distances[0] == distances[4] == math.inf
    assert min(distances) == distances[2]
    assert crowding([]) == [] and fronts([]) == []


def test_nobody_pays_for_the_sort_who_sorts_nothing() -> None:
    code = "import sys, evoline, evoline.cli.app, services.evolution.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "evoline.cli.app" in loaded
    assert not {"deap", "moocore", "rapidfuzz", "gepa"} & set(loaded)
