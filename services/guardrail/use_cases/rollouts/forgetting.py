"""What a rollout counted is kept for a while after its end; what it found is kept with its record."""

from __future__ import annotations

from datetime import timedelta

from services.guardrail.ports import Guardrail, LostRaceError

KEPT_DAYS = 60
"""After the end: as long as a report waits for its run. Later nothing looks at a single outcome any more."""
ROUND = 20


async def forget_outcomes(at: Guardrail) -> int:
    """Returns of how many rollouts. Repeatable; the record says so last, so that a crash in between goes on later."""
    before = (at.clock.now() - timedelta(days=KEPT_DAYS)).isoformat()
    done = 0
    for record in await at.rollouts.uncleared(before, ROUND):
        await at.rollouts.clear(record.rollout_id)
        try:
            await at.rollouts.save(record.model_copy(update={"cleared": True}))
        except LostRaceError:
            continue  # another process cleared it, too
        done += 1
    return done
