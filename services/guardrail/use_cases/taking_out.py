"""Takes revisions out of use with everything bred from them, whoever asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.guardrail.domain.records import moved, redeployed
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.judging import descendants
from shared.errors import NotAttestedError

_TRIES = 20
FENCE = "/fence"
"""How causes of a deployment's generation end that moved nothing. No id of a change has a slash: one that was called like a cause
would be taken for done."""
AGAIN = "/again"
"""How the cause of a rollback's second step, or of what a quarantine moves, ends."""


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
    here or finds its ancestor quarantined: the ancestor's mark is written before its children are read.

    Whoever is putting one of them into service at this moment has read the deployment before the marks: behind the marks the
    deployment is moved, so that such a write is late and finds them when it is repeated; what was faster is found here. Raises
    `LostRaceError`; repeatable."""
    doomed = [digest]
    await _mark(digest, cause, at)
    own = await at.revisions.get(digest)
    if own is not None and own.status != "quarantined":
        # A release that began before the mark ended behind it.
        await _mark(digest, cause, at)
    pipelines = {own.pipeline} if own else set()
    for child in await descendants([digest], at):
        if child.digest not in kept:
            await _mark(child.digest, cause, at)
            doomed.append(child.digest)
            pipelines.add(child.pipeline)
    for pipeline in sorted(pipelines):
        await _fence(pipeline, doomed, cause, at)
    at.gauges.quarantined(len(doomed))
    return tuple(doomed)


async def step_back(pipeline: str, digest: str, cause: str, at: Guardrail) -> tuple[str, int] | None:
    """The newest former revision that may run takes the place of `digest`, which is quarantined and serves: (that revision, the
    generation that it became stable with), whatever moved since. None where `digest` does not serve, or nothing is there to go
    back to. Raises `LostRaceError`; repeatable."""
    current = await at.deployments.get(pipeline)
    if current is None:
        return None
    if current.stable != digest:
        return (current.went_back[cause], current.causes[cause]) if cause in current.went_back else None
    runnable = [each for each in reversed(current.previous) if await may_serve(each, at)]
    if not runnable:
        return None
    target = runnable[0]
    after = redeployed(current, target, cause, at.clock.now().isoformat())
    previous = tuple(each for each in after.previous if each != digest)
    after = after.model_copy(update={"previous": previous, "went_back": {**after.went_back, cause: target}})
    if not await at.deployments.swap(after, from_generation=current.generation):
        raise LostRaceError(f"the deployment of {pipeline} moved at this moment")
    return target, after.generation


async def may_serve(digest: str, at: Guardrail) -> bool:
    """Whether a former revision may serve again. While the audit log is not sound, the deployment's own word on what served before
    is not enough: the attestation is."""
    if await at.revisions.is_quarantined(digest):
        return False
    if at.audit.is_sound:
        return True
    revision = await at.revisions.get(digest)
    if revision is None:
        return False
    try:
        at.signer.check(revision.attestation, kind="revision", digest=digest)
    except NotAttestedError:
        return False
    return True


async def _mark(digest: str, cause: Cause, at: Guardrail) -> None:
    await at.revisions.quarantine(
        digest, cause=cause.cause_id, reason=cause.reason, at=cause.at, author=cause.author, cancel_running=cause.cancel_running
    )


async def _fence(pipeline: str, doomed: Sequence[str], cause: Cause, at: Guardrail) -> None:
    """Once a cause. A canary or shadow that nobody may run any more would fail its share of the runs; its rollout ends with it."""
    key = f"{cause.cause_id}{FENCE}"
    for _ in range(_TRIES):
        current = await at.deployments.get(pipeline)
        if current is None:
            return
        is_tried = current.canary in doomed or current.shadow in doomed
        if key in current.causes and not is_tried:
            return
        without: dict[str, Any] = {"canary": None, "shadow": None, "rollout": None} if is_tried else {}
        after = moved(current, key, at.clock.now().isoformat(), **without)
        if await at.deployments.swap(after, from_generation=current.generation):
            return
    raise LostRaceError(f"the deployment of {pipeline} moves all the time")
