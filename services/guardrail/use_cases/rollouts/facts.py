"""What others are told about a rollout: noted in its record, published after it is stored, under the same id however often."""

from __future__ import annotations

from typing import Any, TypeVar

from services.guardrail.domain.audit import AuditNote, evidence_hash
from services.guardrail.domain.rollout import RolloutRecord, Untold, numbers
from services.guardrail.ports import Guardrail
from shared.events import catalogue
from shared.events.message import Fact, Message
from shared.events.rollouts import RolloutControlled, RolloutHeld, RolloutPaused

F = TypeVar("F", bound=Fact)
_KINDS: dict[str, type[Message]] = {message.subject: message for message in catalogue()}


def with_fact(record: RolloutRecord, kind: type[F], **fields: Any) -> RolloutRecord:
    """`kind` is a fact about rollouts; what all of them say is filled in."""
    said = {
        "rollout_id": record.rollout_id,
        "pipeline": record.pipeline,
        "canary": record.canary,
        "stable": record.stable,
        "share": record.share,
        "numbers": numbers(record),
        **fields,
    }
    return noted(record, kind(**said))


def noted(record: RolloutRecord, fact: Message) -> RolloutRecord:
    untold = Untold(number=record.facts, subject=fact.subject, body=fact.model_dump(mode="json"))
    return record.model_copy(update={"untold": (*record.untold, untold), "facts": record.facts + 1})


def done(record: RolloutRecord, verb: str, author: str, reason: str) -> RolloutControlled:
    return RolloutControlled(
        rollout_id=record.rollout_id,
        pipeline=record.pipeline,
        verb=verb,
        state=record.state,
        share=record.share,
        waits_for=record.waits_for,
        author=author,
        reason=reason,
    )


def with_changes_told(before: RolloutRecord, after: RolloutRecord) -> RolloutRecord:
    """Notes the facts of what a look changed by itself: a pause, or a hold that was not there before."""
    if after.state == "paused" and before.state != "paused":
        return with_fact(after, RolloutPaused, reason=after.paused_for)
    if after.held and after.held != before.held:
        return with_fact(after, RolloutHeld, reason=after.waits_for)
    return after


async def tell(record: RolloutRecord, at: Guardrail) -> RolloutRecord:
    """Publishes what is untold. Raises `LostRaceError` where somebody else wrote meanwhile; told again it is the same message."""
    if not record.untold:
        return record
    for each in record.untold:
        fact = _KINDS[each.subject].model_validate(each.body)
        await at.announcer.announce(fact, cause=record.rollout_id, effect=f"fact:{each.number}")
    return await at.rollouts.save(record.model_copy(update={"untold": ()}))


async def audit(record: RolloutRecord, action: str, reason: str, author: str, moment: str, at: Guardrail) -> None:
    shown = numbers(record).model_dump(mode="json")
    await at.audit.append(
        AuditNote(
            key=f"rollout:{record.rollout_id}:{record.moves}:{action}",
            at=moment,
            action=f"rollout.{action}",
            actor=author,
            subject=record.pipeline,
            digest=record.canary,
            policy_revision=at.policy.revision,
            evidence_hash=evidence_hash(shown),
            facts={"rollout_id": record.rollout_id, "stable": record.stable, "share": record.share, "reason": reason},
        )
    )
