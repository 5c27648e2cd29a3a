"""Does what a rollout intends: one compare-and-set of the deployment, then the rest. Repeatable from wherever a crash left it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.guardrail.domain.records import Deployment, RollbackRecord, ServedRollout, moved, redeployed
from services.guardrail.domain.rollout import Intent, RolloutRecord, served
from services.guardrail.domain.rollout_decisions import begin_watch, percent, stepped
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.rollbacks import roll_back
from services.guardrail.use_cases.rollouts.facts import audit, noted, with_fact
from services.guardrail.use_cases.rollouts.standing_still import standstill
from services.guardrail.use_cases.taking_out import Cause, take_out
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackPipeline, RollbackRefused
from shared.events.message import derive_id
from shared.events.rollouts import WHOLE, RolloutAborted, RolloutCompleted, RolloutRolledBack, RolloutStarted, RolloutStepped

SERVICE = "guardrail"
QUARANTINED = "the revision is quarantined"
SUPERSEDED = "another revision became stable, or another rollout took its place"
GOING_UP = ("open", "step", "complete")
NOTHING = {"canary": None, "shadow": None, "rollout": None}


async def carry_out(record: RolloutRecord, at: Guardrail) -> RolloutRecord:
    """The record after its intent, not stored yet. Raises `LostRaceError` where the deployment moved: the next look does it."""
    intent = record.intent
    assert intent is not None, "there is something to carry out"
    note = (intent.kind, intent.reason, intent.author, intent.at)
    if intent.kind in GOING_UP:
        await audit(record, *note, at)
    after = await _VERBS[intent.kind](record, intent, at)
    # A log that takes no entries stops what goes up before it begins; what takes a canary away is done, and noted later.
    if intent.kind not in GOING_UP:
        await audit(record, *note, at)
    at.gauges.rollout_decided(after.state if after.state != record.state else intent.kind)
    return after.model_copy(update={"intent": None, "moves": record.moves + 1})


async def _open(record: RolloutRecord, intent: Intent, at: Guardrail) -> RolloutRecord:
    # In this order: whoever quarantines it after the look moves the deployment, so the swap is late, or takes the canary out of it.
    current = await _current(record, at)
    generation = _done(record, current)
    if await at.revisions.is_quarantined(record.canary):
        return _aborted(record, intent, QUARANTINED)
    if generation is None:
        if current is None or current.stable != record.stable or not _is_free(current):
            return _aborted(record, intent, SUPERSEDED)
        generation = await _swap(record, current, moved(current, record.cause(), intent.at, **served(record, record.present)), at)
    opened = stepped(record, 0, intent.at).noted(f"started at {percent(record.present.share)}", intent.at)
    said = {"reason": intent.reason, "author": record.author, "plan": record.plan, "change_id": record.change_id}
    return with_fact(opened, RolloutStarted, generation=generation, **said)


async def _step(record: RolloutRecord, intent: Intent, at: Guardrail) -> RolloutRecord:
    step = record.step + 1
    current = await _current(record, at)
    generation = _done(record, current)
    if generation is None:
        if not _is_own(record, current):
            return _aborted(record, intent, SUPERSEDED)
        assert current is not None
        after = moved(current, record.cause(), intent.at, **served(record, record.plan.steps[step]))
        generation = await _swap(record, current, after, at)
    up = stepped(record, step, intent.at)
    up = up.noted(f"up to {percent(up.share)}: {intent.reason}", intent.at)
    return with_fact(up, RolloutStepped, reason=intent.reason, author=intent.author, generation=generation)


async def _complete(record: RolloutRecord, intent: Intent, at: Guardrail) -> RolloutRecord:
    watch = begin_watch(record, intent.at)
    current = await _current(record, at)
    generation = _done(record, current)
    if generation is None:
        if not _is_own(record, current) or await at.revisions.is_quarantined(record.canary):
            return _aborted(record, intent, SUPERSEDED)
        assert current is not None
        watching = ServedRollout(rollout_id=record.rollout_id, salt=record.salt, share=WHOLE)
        after = redeployed(current, record.canary, record.cause(), intent.at)
        after = after.model_copy(update={"rollout": watching if watch else None})
        generation = await _swap(record, current, after, at)
    ended = {"state": "completed", "watch": watch, "closed": watch is None, "ended_at": intent.at, "held": "", "waits_for": ""}
    done = record.model_copy(update=ended).noted(f"completed: {intent.reason}", intent.at)
    done = with_fact(done, RolloutCompleted, reason=intent.reason, author=intent.author, generation=generation)
    deployed = PipelineDeployed(
        pipeline=record.pipeline,
        digest=record.canary,
        previous_digest=record.stable,
        change_id=record.change_id or record.rollout_id,
        generation=generation,
    )
    return noted(done, deployed)


async def _roll_back(record: RolloutRecord, intent: Intent, at: Guardrail) -> RolloutRecord:
    """The deployment moves first, so that nothing new starts while the quarantine is written."""
    if record.state == "completed":
        return await _taken_back(record, intent, at)
    current = await _current(record, at)
    generation = _done(record, current)
    if generation is None and _is_own(record, current):
        assert current is not None
        generation = await _swap(record, current, moved(current, record.cause(), intent.at, **NOTHING), at)
    doomed = await _quarantined(record, intent, at)
    kept = _rollback_record(record, intent, doomed, generation or 0)
    await at.rollbacks.open(kept)
    at.gauges.rolled_back()
    fact = PipelineRolledBack(**kept.model_dump(include=set(PipelineRolledBack.model_fields)))
    return noted(_rolled_back(record, intent, doomed, generation or 0), fact)


async def _taken_back(record: RolloutRecord, intent: Intent, at: Guardrail) -> RolloutRecord:
    """After completion: the former stable revision serves again."""
    command = RollbackPipeline(
        rollback_id=derive_id(record.rollout_id, "watch"),
        pipeline=record.pipeline,
        to_digest=record.stable,
        reason=intent.reason,
        author=SERVICE,
    )
    current = await _current(record, at)
    if current is None or (current.stable != record.canary and command.rollback_id not in current.causes):
        return _closed(record, intent, SUPERSEDED)
    facts = [fact for _, fact in await roll_back(command, at)]
    done = [fact for fact in facts if isinstance(fact, PipelineRolledBack)]
    refused = [fact.reason for fact in facts if isinstance(fact, RollbackRefused)]
    after = _rolled_back(record, intent, done[0].quarantined, done[0].generation) if done else _closed(record, intent, *refused)
    for fact in facts:
        after = noted(after, fact)
    return after


async def _abort(record: RolloutRecord, intent: Intent, at: Guardrail) -> RolloutRecord:
    current = await _current(record, at)
    if _done(record, current) is None and _is_own(record, current):
        assert current is not None
        await _swap(record, current, moved(current, record.cause(), intent.at, **NOTHING), at)
    return _aborted(record, intent, intent.reason)


async def _close(record: RolloutRecord, intent: Intent, at: Guardrail) -> RolloutRecord:
    current = await _current(record, at)
    if _done(record, current) is None and _is_own(record, current):
        assert current is not None
        await _swap(record, current, moved(current, record.cause(), intent.at, rollout=None), at)
    return _closed(record, intent, intent.reason)


async def _current(record: RolloutRecord, at: Guardrail) -> Deployment | None:
    return await at.deployments.get(record.pipeline)


def _done(record: RolloutRecord, current: Deployment | None) -> int | None:
    return None if current is None else current.causes.get(record.cause())


def _is_own(record: RolloutRecord, current: Deployment | None) -> bool:
    return current is not None and current.rollout is not None and current.rollout.rollout_id == record.rollout_id


def _is_free(current: Deployment) -> bool:
    """A revision that is only watched may be followed by the next rollout."""
    return current.rollout is None or current.canary is None


async def _swap(record: RolloutRecord, current: Deployment, after: Deployment, at: Guardrail) -> int:
    """A freeze fences deployments after it is on its board: looked at behind the deployment, neither can be missed."""
    if record.intent is not None and record.intent.kind in GOING_UP and await standstill(record, at):
        raise LostRaceError(f"rollout {record.rollout_id} was frozen at this moment")
    if not await at.deployments.swap(after, from_generation=current.generation):
        raise LostRaceError(f"the deployment of {current.pipeline} moved at this moment")
    return after.generation


async def _quarantined(record: RolloutRecord, intent: Intent, at: Guardrail) -> tuple[str, ...]:
    return await take_out(record.canary, (record.stable,), Cause(record.rollout_id, SERVICE, intent.reason, intent.at), at)


def _rollback_record(record: RolloutRecord, intent: Intent, doomed: tuple[str, ...], generation: int) -> RollbackRecord:
    return RollbackRecord(
        rollback_id=derive_id(record.rollout_id, "rollback"),
        pipeline=record.pipeline,
        author=SERVICE,
        reason=intent.reason,
        from_digest=record.canary,
        to_digest=record.stable,
        quarantined=doomed,
        generation=generation,
        done=True,
        at=intent.at,
    )


def _rolled_back(record: RolloutRecord, intent: Intent, doomed: tuple[str, ...], generation: int) -> RolloutRecord:
    told = with_fact(record, RolloutRolledBack, reason=intent.reason, quarantined=doomed, generation=generation)
    ended = {"state": "rolled_back", "quarantined": doomed, **_end(intent)}
    return told.model_copy(update=ended).noted(f"rolled back: {intent.reason}", intent.at)


def _aborted(record: RolloutRecord, intent: Intent, reason: str) -> RolloutRecord:
    told = with_fact(record, RolloutAborted, reason=reason, author=intent.author)
    return told.model_copy(update={"state": "aborted", **_end(intent)}).noted(f"aborted: {reason}", intent.at)


def _closed(record: RolloutRecord, intent: Intent, reason: str) -> RolloutRecord:
    return record.model_copy(update=_end(intent)).noted(f"the watch is over: {reason}", intent.at)


def _end(intent: Intent) -> dict[str, object]:
    return {"closed": True, "ended_at": intent.at, "held": "", "waits_for": ""}


_VERBS: dict[str, Callable[[RolloutRecord, Intent, Guardrail], Awaitable[RolloutRecord]]] = {
    "open": _open,
    "step": _step,
    "complete": _complete,
    "roll_back": _roll_back,
    "abort": _abort,
    "close": _close,
}
