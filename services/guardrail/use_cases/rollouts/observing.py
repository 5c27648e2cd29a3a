"""A run ended, or somebody said how good it was: what its rollout learns from it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.domain.rollout_evidence import ENOUGH_OUTSIDE, Observation
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.rollouts.advancing import advance
from services.guardrail.use_cases.telling import Effects
from shared.events.rollouts import OutcomeReported, ReportOutcome
from shared.events.runs import RunFinished

HARD = ("failed", "refused")
NOT_SHADOWED = ("limit_reached:", "out_of_scope", "not_attested")
"""Refusals of shadow runs that say nothing about the revision: out of budget, too late, or not to be repeated."""


@dataclass
class Pace:
    """Outcomes that come while a rollout is looked at are counted together by the next look: one write for all of them."""

    at: Guardrail
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _due: set[str] = field(default_factory=set)
    _known: dict[str, RolloutRecord] = field(default_factory=dict)

    async def look(self, rollout_id: str) -> None:
        self._due.add(rollout_id)
        async with self._locks[rollout_id]:
            if rollout_id not in self._due:
                return
            self._due.discard(rollout_id)
            if record := await advance(rollout_id, self.at):
                self._known[rollout_id] = record

    def is_wanted(self, seen: Observation) -> bool:
        """Of runs outside of the comparison a few are enough, and of a rollout that is over none."""
        record = self._known.get(seen.rollout_id)
        if record is None:
            return True
        return not record.closed and (seen.arm != "outside" or record.evidence.outside.runs < ENOUGH_OUTSIDE)


async def observe_run(run: RunFinished, pace: Pace) -> Effects:
    """Counted once, however often it is told: outcomes are stored under an id made of rollout and run."""
    seen = observation_of(run)
    if seen is None or not pace.is_wanted(seen):
        return []
    at = pace.at
    await at.rollouts.note(seen)
    if seen.kind == "run" and (score := await at.rollouts.reported(run.run_id)) is not None:
        await at.rollouts.note(_quality(seen, score))
    await pace.look(seen.rollout_id)
    return []


async def report_outcome(command: ReportOutcome, pace: Pace) -> Effects:
    """The first report of a run counts; it may come before the run's end is heard of."""
    at = pace.at
    score = await at.rollouts.report(command.run_id, command.score)
    for seen in await at.rollouts.of_run(command.run_id):
        if seen.kind == "run":
            await at.rollouts.note(_quality(seen, score))
            await pace.look(seen.rollout_id)
    fact = OutcomeReported(run_id=command.run_id, score=score, author=command.author, comment=command.comment)
    return [("reported", fact)]


def observation_of(run: RunFinished) -> Observation | None:
    """None for what says nothing about a revision: cancelled, replayed, retried, or in no rollout."""
    if run.status == "cancelled" or run.replayed or run.retries:
        return None
    value = 1.0 if run.status == "succeeded" else 0.0
    measured = {
        "run_id": run.run_id,
        "unit": run.unit_id or "",
        "value": value,
        "is_hard": run.status in HARD,
        "seconds": run.latency_seconds,
        "cost_usd": run.usage.cost_usd,
        "at": run.finished_at,
    }
    if run.status == "refused" and run.purpose == "shadow" and run.error_code.startswith(NOT_SHADOWED):
        return None
    if run.purpose == "shadow" and run.shadow_of is not None and run.shadow_of.status != "cancelled":
        other = 1.0 if run.shadow_of.status == "succeeded" else 0.0
        key, rollout_id = f"{run.shadow_of.rollout_id}:{run.run_id}", run.shadow_of.rollout_id
        return Observation(id=key, rollout_id=rollout_id, kind="shadow", arm="canary", other=other, **measured)
    if run.purpose == "production" and run.rollout_id and run.arm:
        return Observation(id=f"{run.rollout_id}:{run.run_id}", rollout_id=run.rollout_id, arm=run.arm, **measured)
    return None


def _quality(seen: Observation, score: float) -> Observation:
    """A run that failed is worth nothing, whatever was reported."""
    return seen.model_copy(update={"id": f"{seen.id}:quality", "kind": "quality", "value": 0.0 if seen.is_hard else score})
