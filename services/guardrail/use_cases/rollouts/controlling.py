"""People steer rollouts: pause, resume, approve a step, abort, complete at once."""

from __future__ import annotations

from services.guardrail.domain.authors import is_person
from services.guardrail.domain.oversight import excluded_names
from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.domain.rollout_decisions import approval_of, paused, percent
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.rollouts.advancing import advance
from services.guardrail.use_cases.rollouts.facts import audit, done, with_fact
from services.guardrail.use_cases.rollouts.standing_still import standstill
from services.guardrail.use_cases.telling import Effects
from shared.errors import UnavailableError
from shared.events.rollouts import ControlRollout, RolloutPaused, RolloutRefused, RolloutResumed

MAX_RACES = 20


async def control_rollout(command: ControlRollout, at: Guardrail, *, message_id: str) -> Effects:
    """A message that comes again changes nothing: the step that it approved may be over, and what it paused resumed."""
    for _ in range(MAX_RACES):
        record = await advance(command.rollout_id, at)
        if record is not None and message_id in record.heard:
            break
        reason = await _why_not(command, record, at)
        if record is None or reason:
            refused = RolloutRefused(
                rollout_id=command.rollout_id,
                pipeline=record.pipeline if record else "",
                verb=command.verb,
                reason=reason,
            )
            return [("refused", refused)]
        try:
            await _steer(record, command, message_id, at)
            break
        except LostRaceError:
            continue
    else:
        raise UnavailableError(f"rollout {command.rollout_id} is written by other processes all the time")
    after = await advance(command.rollout_id, at)
    return [("controlled", done(after or record, command.verb, command.author, command.reason))]


async def _steer(record: RolloutRecord, command: ControlRollout, message_id: str, at: Guardrail) -> None:
    now = at.clock.now().isoformat()
    steered = _steered(record, command, now)
    after = steered.hearing(message_id)
    if steered != record and steered.intent is None:
        await audit(record, command.verb, command.reason, command.author, now, at)
        after = after.model_copy(update={"moves": record.moves + 1})
    await at.rollouts.save(after)


def _steered(record: RolloutRecord, command: ControlRollout, now: str) -> RolloutRecord:
    said = f"{command.author}: {command.reason}" if command.reason else command.author
    if command.verb == "pause":
        if record.state == "paused":
            return record
        return with_fact(paused(record, said, now), RolloutPaused, reason=said, author=command.author)
    if command.verb == "resume":
        if record.state == "running":
            return record
        going = record.model_copy(update={"state": "running", "paused_for": "", "waits_for": "", "held": ""})
        return with_fact(going.noted(f"resumed by {said}", now), RolloutResumed, reason=said, author=command.author)
    if command.verb == "approve_step":
        return record.model_copy(update={"approved_by": command.author, "held": ""}).noted(f"approved by {said}", now)
    kind = "abort" if command.verb == "abort" else "complete"
    return record.intending(kind, said, now, command.author)  # type: ignore[arg-type]


async def _why_not(command: ControlRollout, record: RolloutRecord | None, at: Guardrail) -> str:
    if record is None:
        return f"there is no rollout {command.rollout_id!r}; `evoline rollout list` shows them"
    return _not_now(command, record, await standstill(record, at)) or await _not_by(command, record, at)


def _not_now(command: ControlRollout, record: RolloutRecord, frozen: str) -> str:
    if not record.is_open:
        return f"the rollout is {record.state}: there is nothing to {command.verb}"
    if record.state == "ready" and command.verb != "abort":
        return f"the rollout has not begun{f': the system is frozen: {frozen}' if frozen else ''}; it can only be aborted"
    if command.verb in ("abort", "complete_now") and not command.reason:
        return f"{command.verb} needs a reason, which is kept in the audit log"
    if command.verb == "complete_now" and frozen:
        return f"the system is frozen: {frozen}"
    if command.verb == "approve_step" and command.step not in (None, record.step + 1):
        return _another_step(command, record)
    if command.verb == "approve_step" and not record.present.approval:
        return f"the step at {record.share:.0%} asks for no approval; it waits for {record.waits_for or 'nothing'}"
    return ""


def _another_step(command: ControlRollout, record: RolloutRecord) -> str:
    at = f"the approval is for step {command.step}, but the rollout is at step {record.step + 1} ({percent(record.share)})"
    if not record.present.approval:
        return f"{at}, which asks for no approval; it waits for {record.waits_for or 'nothing'}"
    look = f"look at that one (`evoline rollout status {record.rollout_id}`)"
    return f"{at}: {look}, then approve it: `{approval_of(record)}`"


async def _not_by(command: ControlRollout, record: RolloutRecord, at: Guardrail) -> str:
    if command.verb not in ("approve_step", "complete_now", "resume"):
        return ""
    if not is_person(command.author):
        return f"{command.author!r} is no person: people decide about this"
    if command.verb != "resume" and command.author.casefold() in await _authors(record, at):
        return "an author never approves, nor does who proposed the revision or had it proposed: ask somebody else"
    return ""


async def _authors(record: RolloutRecord, at: Guardrail) -> frozenset[str]:
    """Who wants this rollout: who began it, who is behind the change that approved the revision, and their other names."""
    revision = await at.revisions.get(record.canary)
    change = await at.changes.get(revision.change_id) if revision else None
    names = {name.casefold() for name in (record.author, *(excluded_names(change) if change else ()))}
    people = at.identities.current().identities
    keys = {each.key_id for each in people if each.name.casefold() in names} | ({change.author_key_id} if change else set())
    return frozenset(names | {each.name.casefold() for each in people if each.key_id in keys})
