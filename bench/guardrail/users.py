"""Simulated rollouts whose runs come from few users, each with a rate of success of its own that stays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from services.guardrail.domain.records import Deployment
from services.guardrail.domain.rollout import RolloutRecord, counted, new_rollout
from services.guardrail.domain.rollout_decisions import stepped
from services.guardrail.domain.rollout_evidence import Arm, Observation
from shared.events.rollouts import RolloutPlan

NOW = "2026-11-27T00:00:00+00:00"
LOOK = 4


@dataclass(frozen=True)
class Users:
    """`alike`: share of the variance of single outcomes that lies between users (intraclass correlation)."""

    count: int
    alike: float


def outcomes(rng: np.random.Generator, users: Users, canary: float, control: float, runs: int) -> list[Observation]:
    """Half of the users have the canary; each run is of any of them."""
    in_canary = rng.permutation(users.count) < users.count / 2
    rates = np.where(in_canary, canary, control)
    weight = 1 / users.alike - 1
    own = rng.beta(rates * weight, (1 - rates) * weight)
    who, draws = rng.integers(users.count, size=runs).tolist(), rng.random(runs).tolist()
    return [
        _ended(number, user, "canary" if in_canary[user] else "control", draws[number] < own[user])
        for number, user in enumerate(who)
    ]


def repeated(seen: Sequence[Observation]) -> frozenset[str]:
    known: set[str] = set()
    again = []
    for each in seen:
        again += [each.id] if each.unit in known else []
        known.add(each.unit)
    return frozenset(again)


def started() -> RolloutRecord:
    serving = Deployment(pipeline="p", domain="d", author="a", stable="s", updated_at="")
    return stepped(new_rollout(serving, "c", RolloutPlan(), NOW, rollout_id="r", author="a"), 0, NOW)


def false_rollbacks(users: Users, rate: float, *, rollouts: int, runs: int, seed: int) -> tuple[int, int]:
    """(by users, by runs as if those were independent), looked at after every run."""
    ends = list(_of_equal(users, rate, rollouts, runs, np.random.default_rng(seed)))
    return sum(bool(record.evidence.alarm) for record in ends), sum(bool(record.every.alarm) for record in ends)


def noticed(users: Users, canary: float, control: float, *, rollouts: int, runs: int, seed: int) -> Iterator[float]:
    """Runs of both arms until a rollout is rolled back; infinite where it never is."""
    rng = np.random.default_rng(seed)
    return (_noticed(outcomes(rng, users, canary, control, runs)) for _ in range(rollouts))


def _noticed(seen: Sequence[Observation]) -> float:
    record, again = started(), repeated(seen)
    for start in range(0, len(seen), LOOK):
        record = counted(record, seen[start : start + LOOK], again)
        if record.evidence.alarm:
            return start + LOOK
    return math.inf


def _of_equal(users: Users, rate: float, rollouts: int, runs: int, rng: np.random.Generator) -> Iterator[RolloutRecord]:
    for _ in range(rollouts):
        seen = outcomes(rng, users, rate, rate, runs)
        yield counted(started(), seen, repeated(seen))


def _ended(number: int, user: int, arm: Arm, ok: bool) -> Observation:
    return Observation(id=str(number), rollout_id="r", run_id="", unit=f"u{user}", arm=arm, value=float(ok), is_hard=not ok)
