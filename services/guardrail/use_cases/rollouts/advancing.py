"""Brings a rollout to where it should be by now: counts what was seen, decides, does it, tells it."""

from __future__ import annotations

import contextlib
from collections import Counter

from services.guardrail.domain.rollout import RolloutRecord, counted
from services.guardrail.domain.rollout_decisions import decided
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.rollouts.carrying_out import GOING_UP, QUARANTINED, SUPERSEDED, carry_out
from services.guardrail.use_cases.rollouts.facts import tell, with_changes_told
from services.guardrail.use_cases.rollouts.standing_still import standstill
from shared.errors import UnavailableError

BATCH = 500
MAX_ROUNDS = 200
"""Several processes may count for the same rollout; each lost race is a write of another one."""


async def advance(rollout_id: str, at: Guardrail) -> RolloutRecord | None:
    """The rollout when nothing is left to do; None for an unknown one. Any number of processes may do this at once."""
    for _ in range(MAX_ROUNDS):
        try:
            record, is_done = await _round(rollout_id, at)
        except LostRaceError:
            continue
        if is_done:
            return record
    raise UnavailableError(f"rollout {rollout_id} is written by other processes all the time")


async def advance_all(at: Guardrail, *, limit: int = 1000) -> None:
    """Once every few seconds: for what no outcome brings about, such as time that passes, and for what a crash left undone."""
    counts: Counter[tuple[str, float]] = Counter()
    for each in await at.rollouts.latest(None, unclosed_only=True, limit=limit):
        record: RolloutRecord | None = each
        # What cannot be done now, for a lost race or a store that does not answer, is done by a look that follows.
        with contextlib.suppress(UnavailableError):
            await _end_if_superseded(each, at)
        with contextlib.suppress(UnavailableError):
            record = await advance(each.rollout_id, at)
        if record is not None and not record.closed:
            counts["held" if record.held else "watched" if record.state == "completed" else record.state, record.share] += 1
    at.gauges.rollouts_open(counts)


async def _end_if_superseded(record: RolloutRecord, at: Guardrail) -> None:
    """A rollback by people, or what ships with the system, may have moved the deployment under the rollout."""
    if record.intent is not None or record.state not in ("running", "paused"):
        return
    serving = await at.deployments.get(record.pipeline)
    if serving is None or serving.rollout is None or serving.rollout.rollout_id != record.rollout_id:
        reason = QUARANTINED if await at.revisions.is_quarantined(record.canary) else SUPERSEDED
        await at.rollouts.save(record.intending("abort", reason, at.clock.now().isoformat()))


async def _round(rollout_id: str, at: Guardrail) -> tuple[RolloutRecord | None, bool]:
    record = await at.rollouts.get(rollout_id)
    if record is None:
        return None, True
    frozen = await standstill(record, at)
    if record.intent is not None and record.intent.kind in GOING_UP and frozen:
        return await at.rollouts.save(record.model_copy(update={"intent": None})), False
    if record.intent is not None:
        return await tell(await at.rollouts.save(await carry_out(record, at)), at), False
    # What the last write counted is marked before the next one counts, or it would be counted again.
    await at.rollouts.mark(record.last_batch)
    found = await at.rollouts.uncounted(rollout_id, BATCH)
    fresh = [each for each in found if each.id not in set(record.last_batch)]
    seen = counted(record, fresh, await at.rollouts.counted_before(fresh, record.phase)) if fresh else record
    after = decided(seen, at.clock.now(), frozen)
    after = with_changes_told(record, after)
    if after != record:
        after = await at.rollouts.save(after)
    after = await tell(after, at)
    return after, after.intent is None and len(found) < BATCH
