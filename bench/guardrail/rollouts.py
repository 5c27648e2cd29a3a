"""Simulated rollouts through the functions that decide: false rollbacks, and how soon a worse canary is noticed.

`python -m bench.guardrail.rollouts` writes bench/results/rollouts.md."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.guardrail.users import Users
from bench.guardrail.users import false_rollbacks as false_rollbacks_of
from bench.guardrail.users import noticed as noticed_of
from services.guardrail.domain.rollout_evidence import Observation, observed, start_evidence
from shared.evidence.scores import wilson_interval

ROLLOUTS = 2000
RUNS = 1000
DETECTIONS = 200
USER_ROLLOUTS = 1000
LOOK = 4
RESULT = Path(__file__).parent.parent / "results" / "rollouts.md"
SEEN = {
    (arm, ok): Observation(id="", rollout_id="", run_id="", arm=arm, value=float(ok), is_hard=not ok)
    for arm in ("canary", "control")
    for ok in (False, True)
}


def outcomes(rng: np.random.Generator, canary: float, control: float, count: int) -> list[Observation]:
    arms, draws = rng.random(count) < 0.5, rng.random(count)
    return [
        SEEN["canary" if arm else "control", bool(draw < (canary if arm else control))]
        for arm, draw in zip(arms.tolist(), draws.tolist(), strict=True)
    ]


def false_rollbacks(rate: float) -> tuple[int, float, float]:
    """(rolled back, 95% interval of the share) among rollouts of equal revisions that are looked at after every run."""
    rng = np.random.default_rng(20261126)
    found = sum(bool(observed(start_evidence(()), outcomes(rng, rate, rate, RUNS)).alarm) for _ in range(ROLLOUTS))
    low, high = wilson_interval(found / ROLLOUTS, ROLLOUTS, 1.96)
    return found, low, high


def noticed(canary: float, control: float, rollouts: int = DETECTIONS) -> list[int]:
    """Runs of both arms together until a guard says that the canary must go; `RUNS` where none does."""
    rng = np.random.default_rng(7)
    return [_until(rng, canary, control) for _ in range(rollouts)]


def _until(rng: np.random.Generator, canary: float, control: float) -> int:
    evidence, seen = start_evidence(()), outcomes(rng, canary, control, RUNS)
    for start in range(0, RUNS, LOOK):
        evidence = observed(evidence, seen[start : start + LOOK])
        if evidence.alarm:
            return start + LOOK
    return RUNS


def canary_runs_of_a_broken_one(control: float, known: int) -> list[int]:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(DETECTIONS * 5):
        evidence = observed(start_evidence(()), [SEEN["control", True]] * known)
        while not evidence.alarm:
            evidence = observed(evidence, outcomes(rng, 0.0, control, 1))
        found.append(evidence.canary.runs)
    return found


def report() -> Iterator[str]:
    yield "# Rollouts, simulated\n"
    yield "`python -m bench.guardrail.rollouts`: the guards of `services/guardrail/domain/rollout_evidence.py`, looked at after"
    yield f"every run ({LOOK} runs where a time is measured), half of the runs in each arm.\n"
    yield f"| equal revisions, {RUNS} runs, {ROLLOUTS} rollouts | rolled back | 95% interval |\n|---|---|---|"
    for rate in (0.5, 0.7, 0.9, 0.97, 0.99):
        found, low, high = false_rollbacks(rate)
        yield f"| both succeed in {rate:.0%} | {found / ROLLOUTS:.2%} | {low:.2%} to {high:.2%} |"
    yield f"\n| worse canary, {DETECTIONS} rollouts | runs an arm, median | 90% | in both arms, median | not within {RUNS} |"
    yield "|---|---|---|---|---|"
    for control, canary in ((0.9, 0.8), (0.9, 0.7), (0.8, 0.6), (0.95, 0.9), (0.5, 0.3)):
        both = np.array(noticed(canary, control))
        missed = int((both >= RUNS).sum())
        half = f"{np.median(both) / 2:.0f} | {np.percentile(both, 90) / 2:.0f}"
        yield f"| {control:.0%} to {canary:.0%} | {half} | {np.median(both):.0f} | {missed} |"
    yield f"\n| canary that always fails, {DETECTIONS * 5} rollouts | canary runs, median | 99% | most | within 10 |"
    yield "|---|---|---|---|---|"
    for control, known in ((1.0, 20), (1.0, 0), (0.95, 20), (0.9, 20)):
        found_runs = np.array(canary_runs_of_a_broken_one(control, known))
        middle, late = np.percentile(found_runs, [50, 99])
        shares = f"{middle:.0f} | {late:.0f} | {found_runs.max()} | {(found_runs <= 10).mean():.1%}"
        yield f"| control succeeds in {control:.0%}, {known} runs of it known before | {shares} |"

    yield from users_counted_once()
    yield from worse_canary_of_users()


def users_counted_once() -> Iterator[str]:
    yield "\nUsers send many runs each, and each has a rate of success of its own, 90% in the mean; half of them in each arm. By"
    yield "runs: as if all were independent, which stops a rollout without judging it. By users: what rolls back.\n"
    yield f"| equal revisions, {RUNS} runs, {USER_ROLLOUTS} rollouts | between users | by runs | by users | 95% interval |"
    yield "|---|---|---|---|---|"
    for count, alike in ((20, 0.1), (20, 0.3), (50, 0.1), (50, 0.3), (200, 0.1), (200, 0.3), (1000, 0.3)):
        by_users, by_runs = false_rollbacks_of(Users(count, alike), 0.9, rollouts=USER_ROLLOUTS, runs=RUNS, seed=20261127)
        low, high = wilson_interval(by_users / USER_ROLLOUTS, USER_ROLLOUTS, 1.96)
        shares = f"{by_runs / USER_ROLLOUTS:.1%} | {by_users / USER_ROLLOUTS:.1%} | {low:.1%} to {high:.1%}"
        yield f"| {count} users | {alike:.0%} | {shares} |"


def worse_canary_of_users() -> Iterator[str]:
    worse = f"90% to 80%, 10% of the variance between users, {DETECTIONS} rollouts of {4 * RUNS} runs"
    yield f"\n| {worse} | rolled back, runs an arm, median | never |\n|---|---|---|"
    for count in (50, 200, 1000, 4000):
        found = list(noticed_of(Users(count, 0.1), 0.8, 0.9, rollouts=DETECTIONS, runs=4 * RUNS, seed=7))
        yield f"| {count} users | {_half(found)} | {sum(map(math.isinf, found))} |"


def _half(both: list[float]) -> str:
    """Runs an arm."""
    middle = float(np.median(both))
    return "never" if math.isinf(middle) else f"{middle / 2:.0f}"


if __name__ == "__main__":
    RESULT.write_text("\n".join(report()) + "\n")
