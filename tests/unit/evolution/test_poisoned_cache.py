"""Grades that somebody wrote into the cache of evaluations: a search does not believe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from shared.events.values import GraderSpec
from shared.evidence.graders import grader_hash
from shared.search.candidates import Candidate
from tests.fakes.evolution_world import World, small_world
from tests.unit.evolution.test_evaluations import DEV, evaluations, two_candidates

CASES = DEV[:8]


@pytest.mark.parametrize(
    "edit",
    [
        {"grade": 1.0},
        {"grade": 1.0, "status": "timed_out", "answer": None},
        {"grade": None, "status": "failed", "answer": None},
        {"grade": True},
        {"grade": float("nan")},
        {"grade": 1.0, "digest": "of-another"},
        {"grade": 1.0, "grader_hash": grader_hash(GraderSpec(kind="exact"))},
    ],
    ids=str,
)
async def test_an_edited_grade_is_measured_again(edit: dict[str, Any]) -> None:
    world, (candidate, _) = small_world(), two_candidates()
    (honest,) = await evaluations(world, 100).measure([candidate], CASES)
    wrong = [case for case, grade in zip(CASES, honest, strict=True) if grade != 1.0]
    assert wrong, "there is something to gain"
    await poison(world, candidate, wrong, edit)
    poisoned = evaluations(world, 100, evolution_id="evo-2")
    assert await poisoned.measure([candidate], CASES) == [honest]
    assert poisoned.dispatched == len(wrong)


async def poison(world: World, candidate: Candidate, cases: Sequence[str], edit: Mapping[str, Any]) -> None:
    """Whoever can write into the store of evaluations replaces these rows."""
    arena, cache = evaluations(world, 100), world.evolution.cache
    rows = await cache.known([arena._key(candidate.digest, case) for case in CASES])
    assert len(rows) == len(CASES)
    await cache.forget([candidate.digest])
    await cache.keep([{**row, **edit} if row["case_id"] in cases else row for row in rows.values()])


async def test_an_honest_cache_saves_the_runs() -> None:
    """Else the test above would prove nothing."""
    world, (candidate, _) = small_world(), two_candidates()
    before = await evaluations(world, 100).measure([candidate], CASES)
    again = evaluations(world, 100, evolution_id="evo-2")
    assert await again.measure([candidate], CASES) == before and again.dispatched == 0
