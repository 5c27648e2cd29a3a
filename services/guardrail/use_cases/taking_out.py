"""Takes revisions out of use with everything bred from them, whoever asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.guardrail.domain.records import RevisionRecord
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.judging import descendants


@dataclass(frozen=True)
class Cause:
    """Why, by whom and when something is taken out of use."""

    cause_id: str
    author: str
    reason: str
    at: str
    cancel_running: bool = False


async def take_out(digest: str, kept: Sequence[str], cause: Cause, at: Guardrail) -> tuple[str, ...]:
    """Quarantines the digest, then what descends from it, without `kept`. A child that is approved at this moment either is found
    here or finds its ancestor quarantined: the ancestor's mark is written before its children are read."""
    doomed = [digest]
    await _mark(digest, cause, at)
    for child in await descendants([digest], at):
        if child.digest not in kept:
            await _mark(child.digest, cause, at)
            await _withdraw_canary(child, at)
            doomed.append(child.digest)
    own = await at.revisions.get(digest)
    if own is not None:
        await _withdraw_canary(own, at)
    at.gauges.quarantined(len(doomed))
    return tuple(doomed)


async def _mark(digest: str, cause: Cause, at: Guardrail) -> None:
    await at.revisions.quarantine(
        digest, cause=cause.cause_id, reason=cause.reason, at=cause.at, author=cause.author, cancel_running=cause.cancel_running
    )


async def _withdraw_canary(revision: RevisionRecord, at: Guardrail) -> None:
    """A canary or shadow that nobody may run any more would fail its share of the runs; its rollout ends with it. Raises
    `LostRaceError`."""
    current = await at.deployments.get(revision.pipeline)
    if current is None or revision.digest not in (current.canary, current.shadow):
        return
    without = {"canary": None, "shadow": None, "rollout": None}
    moved = {"generation": current.generation + 1, "updated_at": at.clock.now().isoformat()}
    if not await at.deployments.swap(current.model_copy(update=without | moved), from_generation=current.generation):
        raise LostRaceError(f"the deployment of {revision.pipeline} moved at this moment")
