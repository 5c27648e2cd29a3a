"""What a promotion claimed is compared with what production shows: by the arms of its rollout, or before and after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from services.learner.domain.gains import MANUAL, Scored, gains_by_strategy, look_due, realised, sides_of, standing
from services.learner.ports import GainGauges, GainStore
from services.learner.use_cases.learning import RUNS_KEPT, Effects
from shared.clock import Clock
from shared.events.changes import ChangeApproved, GateFinished
from shared.events.experiments import ExperimentFinished
from shared.events.gains import GainRealised, GetStrategies
from shared.events.improvement import EvolutionFinished
from shared.events.rollouts import OutcomeReported, RolloutCompleted, RolloutRolledBack
from shared.events.runs import RunFinished

HARD = ("failed", "refused")
_MOST_CLAIMS = 500
REPORTS_KEPT = timedelta(days=60)
"""Until their run is heard of: facts are readable for 30 days, and a dead letter of one is redriven for as long."""


@dataclass(frozen=True)
class Gains:
    store: GainStore
    gauges: GainGauges
    clock: Clock


async def note_claim(fact: GateFinished | ChangeApproved, at: Gains) -> Effects:
    """What the sealed gate measured, and that it was let in."""
    if isinstance(fact, ChangeApproved):
        if fact.kind == "promotion":
            await at.store.note(fact.change_id, {"approved": True, "pipeline": fact.pipeline, "digest": fact.digest})
        return []
    fields = {"pipeline": fact.pipeline, "digest": fact.candidate_digest, "incumbent": fact.incumbent_digest}
    numbers = {"gain": fact.gain, "gain_low": fact.gain_low, "gain_high": fact.gain_high, "verdict": fact.verdict}
    if fact.claim is not None:
        numbers["claim"] = fact.claim
    await at.store.note(fact.change_id, {**fields, **numbers})
    return []


async def attribute(fact: EvolutionFinished | ExperimentFinished, at: Gains) -> Effects:
    """Which strategy and operator found the candidate."""
    if not fact.change_id:
        return []
    if isinstance(fact, EvolutionFinished):
        found = {"strategy": fact.strategy or MANUAL, "operator": fact.operator}
    else:
        origin = next((each.origin for each in fact.variants if each.label == fact.winner), "")
        found = {"strategy": "experiment", "operator": origin}
    await at.store.note(fact.change_id, found)
    return []


async def note_served(run: RunFinished, at: Gains) -> Effects:
    """A production run that may be, or has been, scored."""
    if run.purpose != "production" or run.status == "cancelled" or run.replayed or run.retries or run.parent_run_id:
        return []
    fields = {"pipeline": run.pipeline, "digest": run.digest, "arm": run.arm, "failed": run.status in HARD, "unit": run.unit_id}
    await at.store.add_run(run.run_id, fields, at.clock.now())
    return await _joined(run.run_id, at)


async def note_report(fact: OutcomeReported, at: Gains) -> Effects:
    """May come before the run's end is heard of."""
    await at.store.add_report(fact.run_id, fact.score, at.clock.now())
    return await _joined(fact.run_id, at)


async def note_rollout(fact: RolloutCompleted | RolloutRolledBack, at: Gains) -> Effects:
    """The end of the first rollout is a look of its own, with what the rollout saw of successes. Later ones are none: the level
    of all looks together leaves room for one."""
    seen = fact.numbers
    successes = {"success_gain": seen.gain, "success_gain_low": seen.gain_low, "success_gain_high": seen.gain_high}
    effects: Effects = []
    for claim in await at.store.claims_of(fact.pipeline, fact.canary):
        if claim["incumbent"] != fact.stable:
            continue
        if claim.get("look_cause") == fact.rollout_id:
            effects += _told(claim)
        elif not claim.get("rollout_look"):
            seen_too = {"successes": successes, "rollout_look": fact.rollout_id}
            effects += await _look({**claim, **seen_too}, fact.rollout_id, at, **seen_too)
    return effects


async def _joined(run_id: str, at: Gains) -> Effects:
    """Where a report and its run have met: the looks that are due. Told again for the message that caused the last one."""
    outcome = await at.store.join(run_id)
    effects: Effects = []
    for claim in await at.store.claims_of(outcome["pipeline"], outcome["digest"]) if outcome else ():
        if claim.get("look_cause") == run_id:
            effects += _told(claim)
            continue
        looks = claim.get("looks", [])
        if due := look_due(await at.store.count(claim["pipeline"], claim["digest"]), looks):
            effects += await _look(claim, run_id, at, looks=[*looks, due])
    return effects


async def _look(claim: dict[str, Any], cause: str, at: Gains, **fields: Any) -> Effects:
    pipeline = claim["pipeline"]
    pair = (claim["digest"], claim["incumbent"])
    known = sum([await at.store.count(pipeline, digest) for digest in pair])
    rows = await at.store.outcomes(pipeline, pair)
    scored = [Scored(row["digest"], row["arm"], row["score"], row.get("unit") or row["_id"]) for row in rows]
    sides = [side for pair in sides_of(claim).values() for side in pair]
    served = {side: await at.store.served(pipeline, side.digest, side.arm) for side in sides}
    fact = realised(claim, scored, served, left_out=max(0, known - len(rows)))
    kept = {"realised": fact.model_dump(mode="json"), "looked": True, "looked_at": at.clock.now().isoformat(), "look_cause": cause}
    await at.store.note(claim["_id"], {**fields, **kept})
    await tell_standing(at)
    return _told({**claim, **kept})


def _told(claim: dict[str, Any]) -> Effects:
    return [(f"realised:{claim['_id']}:{claim['look_cause']}", GainRealised.model_validate(claim["realised"]))]


async def forget_outcomes(at: Gains) -> int:
    """What is too old to be met or compared; what was found of claims stays."""
    return await at.store.forget(at.clock.now(), reports_after=REPORTS_KEPT, runs_after=RUNS_KEPT)


async def tell_standing(at: Gains) -> None:
    """Gauges of everything that was looked at: also at the start, so that a restart shows what was known before."""
    facts = await _facts(None, _MOST_CLAIMS, at)
    at.gauges.gains(gains_by_strategy(facts), Counter(fact.outcome for fact in facts))


async def strategies(query: GetStrategies, at: Gains) -> dict[str, Any]:
    facts = await _facts(query.pipeline, query.limit, at)
    return {"strategies": standing(facts), "claims": [fact.model_dump(mode="json") for fact in facts]}


async def _facts(pipeline: str | None, limit: int, at: Gains) -> list[GainRealised]:
    return [GainRealised.model_validate(claim["realised"]) for claim in await at.store.latest(pipeline, limit)]
