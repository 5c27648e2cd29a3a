"""What the decisions of rollouts are worth: simulated rollouts, each outcome looked at, through the functions that decide."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.guardrail.domain.records import Deployment
from services.guardrail.domain.rollout import RolloutRecord, counted, new_rollout
from services.guardrail.domain.rollout_decisions import decided, stepped
from services.guardrail.domain.rollout_evidence import (
    ALPHA_BROKEN,
    ALPHA_QUALITY,
    ALPHA_SUCCESS,
    ALPHA_WATCH,
    Observation,
    observed,
    start_evidence,
)
from shared.events.rollouts import RolloutPlan, RolloutStep
from shared.evidence.assignment import BUCKETS, RAMP, assign_arm, bucket_of

START = datetime(2026, 11, 22, tzinfo=UTC)
RUNS_A_STEP = 150
LOOK = 4
"""Runs between two looks where a time is measured; what is found is at most so much too late."""
UP = RolloutPlan(steps=tuple(RolloutStep(share=share, minutes=0, sample=10) for share in RAMP))
SEEN = {
    (arm, ok): Observation(id="", rollout_id="", run_id="", arm=arm, value=float(ok), is_hard=not ok)
    for arm in ("canary", "control")
    for ok in (False, True)
}


def outcomes(rng: np.random.Generator, canary: float, control: float, count: int) -> list[Observation]:
    """In the order of their ends: arms are drawn, then whether the run succeeds."""
    arms, draws = rng.random(count) < 0.5, rng.random(count)
    return [
        SEEN["canary" if arm else "control", bool(draw < (canary if arm else control))]
        for arm, draw in zip(arms.tolist(), draws.tolist(), strict=True)
    ]


def simulated(rng: np.random.Generator, canary: float, control: float) -> RolloutRecord:
    """A whole rollout, step by step, until it is completed or rolled back."""
    serving = Deployment(pipeline="p", domain="d", author="a", stable="s", updated_at="")
    record = stepped(new_rollout(serving, "c", UP, START.isoformat(), rollout_id="r", author="a"), 0, START.isoformat())
    for step in range(len(UP.steps) - 1):
        record = decided(counted(record, outcomes(rng, canary, control, RUNS_A_STEP)), START + timedelta(hours=step))
        if record.intent is None or record.intent.kind in ("roll_back", "complete"):
            return record
        record = stepped(record, step + 1, START.isoformat()).model_copy(update={"intent": None})
    raise AssertionError("the last step completes")


def test_the_chances_of_a_false_rollback_add_up_to_five_percent() -> None:
    assert math.isclose(ALPHA_SUCCESS + ALPHA_QUALITY + ALPHA_WATCH + ALPHA_BROKEN, 0.05)


def test_of_two_thousand_rollouts_of_equal_revisions_at_most_five_percent_are_rolled_back() -> None:
    rng = np.random.default_rng(20261126)
    ends = [simulated(rng, 0.9, 0.9).intent for _ in range(2000)]
    rolled_back = sum(end is not None and end.kind == "roll_back" for end in ends)
    assert rolled_back <= 100
    assert sum(end is not None and end.kind == "complete" for end in ends) >= 1800


def runs_until_rolled_back(rng: np.random.Generator, canary: float, control: float, most: int) -> tuple[int, int]:
    """(runs of the larger arm, runs of both) when a guard first says that the canary must go."""
    evidence = start_evidence(())
    seen = outcomes(rng, canary, control, most)
    for start in range(0, most, LOOK):
        evidence = observed(evidence, seen[start : start + LOOK])
        if evidence.alarm:
            return max(evidence.canary.runs, evidence.control.runs), start + LOOK
    return most, most


def detection(canary: float, control: float, rollouts: int, most: int) -> Iterator[tuple[int, int]]:
    rng = np.random.default_rng(7)
    return (runs_until_rolled_back(rng, canary, control, most) for _ in range(rollouts))


def test_ninety_to_eighty_percent_is_noticed_at_a_median_of_at_most_220_runs_an_arm() -> None:
    arms = [arm for arm, _ in detection(0.8, 0.9, 101, 1200)]
    assert np.median(arms) <= 220


@pytest.mark.parametrize(("canary", "control", "rollouts"), [(0.7, 0.9, 101), (0.6, 0.8, 101), (0.3, 0.5, 401)])
def test_twenty_points_less_are_noticed_within_a_median_of_160_runs(canary: float, control: float, rollouts: int) -> None:
    assert np.median([both for _, both in detection(canary, control, rollouts, 400)]) <= 160


def test_a_broken_canary_beside_a_working_control_is_noticed_within_ten_of_its_runs() -> None:
    before = observed(start_evidence(()), [SEEN["control", True]] * 20)
    rng = np.random.default_rng(3)
    for _ in range(200):
        evidence = before
        while not evidence.alarm:
            evidence = observed(evidence, outcomes(rng, 0.0, 1.0, 1))
        assert evidence.canary.runs <= 10


def test_batches_of_any_size_decide_alike() -> None:
    rng = np.random.default_rng(11)
    seen = outcomes(rng, 0.8, 0.9, 300)
    whole = observed(start_evidence((0.1, 0.25)), seen)
    parts = start_evidence((0.1, 0.25))
    for start in range(0, len(seen), 7):
        parts = observed(parts, seen[start : start + 7])
    assert parts.success.worse.best_below == pytest.approx(whole.success.worse.best_below, rel=1e-9)
    assert parts.model_dump(include={"canary", "control"}) == whole.model_dump(include={"canary", "control"})
    assert parts.success.margin_shown(parts.margins) == whole.success.margin_shown(whole.margins)


def test_of_a_million_units_none_switches_arms_through_the_ramp_a_rollback_and_a_restart() -> None:
    """The arm of a unit follows from its bucket alone, shown first; then every bucket that a million units are in is followed."""
    salt = "rollout-of-support-triage"
    sample = [f"unit-{number}" for number in range(2000)]
    by_bucket: dict[int, str] = {}
    for unit in sample:
        by_bucket.setdefault(bucket_of(salt, unit), unit)
    for unit in sample:
        for share in RAMP:
            assert assign_arm(salt, unit, share) == assign_arm(salt, by_bucket[bucket_of(salt, unit)], share)
    counts = np.bincount([bucket_of(salt, f"unit-{number}") for number in range(1_000_000)], minlength=BUCKETS)
    assert counts.sum() == 1_000_000
    switches = 0
    for bucket, unit in {**by_bucket, **_units_of_all_buckets(salt, by_bucket)}.items():
        history = [assign_arm(salt, unit, share) for share in (*RAMP, 0.0, *RAMP)]
        up, rolled_back, again = history[: len(RAMP)], history[len(RAMP)], history[len(RAMP) + 1 :]
        steps = [*itertools.pairwise(up)]
        wrong = any(earlier == "canary" != later for earlier, later in steps)
        wrong |= any(earlier == "control" != later for earlier, later in steps[:-1])
        switches += int(counts[bucket]) * (wrong or rolled_back != "outside" or again != up)
    assert switches == 0


def _units_of_all_buckets(salt: str, known: dict[int, str]) -> dict[int, str]:
    found: dict[int, str] = {}
    number = 1_000_000
    while len(found) + len(known) < BUCKETS:
        unit = f"unit-{number}"
        bucket = bucket_of(salt, unit)
        if bucket not in known:
            found.setdefault(bucket, unit)
        number += 1
    return found
