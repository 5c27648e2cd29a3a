"""The audit log's own verbs: signed checkpoints, and answers to whoever checks it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from services.guardrail.domain.audit import AuditNote
from services.guardrail.ports import AuditLogUnsoundError, Guardrail
from services.guardrail.use_cases.telling import Effects
from shared.audit.checkpoints import Checkpoint
from shared.audit.merkle import Node, consistency_parts, inclusion_parts, proof
from shared.errors import InvalidInputError, NotFoundError, Problem
from shared.events.audit import (
    AuditCheckpointed,
    FindAuditEntries,
    GetAuditCheckpoint,
    GetAuditConsistency,
    GetAuditProof,
    ReadAuditLog,
)
from shared.events.deployments import RollbackRefused
from shared.events.message import Command, Message

NOBODY = "unknown"
MOST_BYTES = 600_000
"""Of the entries in one answer; a message holds 1 MB."""


async def check_audit_log(at: Guardrail) -> tuple[str, ...]:
    """Compares the whole log with every kept checkpoint. What does not fit closes it: nothing is decided any more."""
    faults = await at.audit.check([each.head for each in at.checkpoints.all()])
    at.gauges.audit_checked(size=await at.audit.count(), faults=len(faults))
    at.gauges.audit_late(len(await at.late_notes.all()))
    return faults


async def require_checked_log(at: Guardrail) -> None:
    """Before an entry proves something: it does so as part of the whole log only; one that somebody put beside it is found when
    all is recomputed. Raises `AuditLogUnsoundError`."""
    await check_audit_log(at)
    at.audit.require_sound()


async def audit_refusals(command: Command, effects: Effects, at: Guardrail, *, message_id: str) -> None:
    """Whatever says no to a command is in the log before it is told; refused rollbacks stand there with their record."""
    for effect, fact in effects:
        if fact.subject.endswith(".refused") and not isinstance(fact, RollbackRefused):
            await at.audit.append(_refusal(command, fact, f"refused:{message_id}:{effect}", at))


async def audit_unauthorized(command: Command, reason: str, at: Guardrail, *, signer: str, message_id: str) -> None:
    """That somebody tried what is not theirs. A log that is closed takes nothing more; the dead letter keeps it then."""
    if not at.audit.is_sound or not at.refusals.is_to_be_told(signer or NOBODY, command.subject, at.clock.now()):
        return
    names = ("change_id", "pipeline", "rollback_id", "freeze_id", "scope_id", "delegation_id")
    about = {name: getattr(command, name) for name in names if getattr(command, name, None)}
    await at.audit.append(
        AuditNote(
            key=f"unauthorized:{message_id}",
            at=at.clock.now().isoformat(),
            action="command.refused",
            actor=signer or NOBODY,
            subject=str(about.get("pipeline", command.subject)),
            policy_revision=at.policy.revision,
            facts={"command": command.subject, "reason": reason, **about},
        )
    )


async def audit_refused_minutes(at: Guardrail) -> None:
    """Numbers of the refusals that got no entry of their own."""
    if not at.audit.is_sound:
        return
    for each in at.refusals.over(at.clock.now()):
        facts = {"minute": each.minute, "more": each.refusals, "process": at.refusals.name}
        note = AuditNote(
            key=f"refusals:{each.signer}:{each.kind}:{each.minute}:{at.refusals.name}",
            at=at.clock.now().isoformat(),
            action="refusals.counted",
            actor=each.signer,
            subject=each.kind,
            policy_revision=at.policy.revision,
            facts=facts,
        )
        await at.audit.append(note)


def _refusal(command: Command, fact: Message, key: str, at: Guardrail) -> AuditNote:
    said = fact.model_dump(mode="json")
    about = [str(said[name]) for name in ("pipeline", "dataset_id", "change_id", "scope_id") if said.get(name)]
    reasons = [str(Problem.model_validate(each)) for each in said.pop("problems", ())]
    return AuditNote(
        key=key,
        at=at.clock.now().isoformat(),
        action=fact.subject.removeprefix("evt."),
        actor=str(getattr(command, "reviewer", "") or getattr(command, "author", "") or "unknown"),
        subject=about[0] if about else command.subject,
        facts=said | ({"reasons": reasons[:20]} if reasons else {}),
    )


async def checkpoint_audit_log(at: Guardrail) -> Effects:
    """The newest checkpoint as a fact; a new one where the log grew. Raises `AuditLogUnsoundError`."""
    checkpoint = await current_checkpoint(at)
    return [(f"audit:{checkpoint.head.size}:{checkpoint.head.root}", _fact(checkpoint))] if checkpoint else []


async def current_checkpoint(at: Guardrail) -> Checkpoint | None:
    """One over the whole log of this moment by the present key, signed only after the entries since the last one were
    recomputed; None before the first entry. Raises `AuditLogUnsoundError`."""
    try:
        head = await at.audit.head()
    except AuditLogUnsoundError:
        at.gauges.audit_checked(size=await at.audit.count(), faults=1)
        raise
    now, latest = at.clock.now(), at.checkpoints.latest()
    at.gauges.audit_checked(size=head.size, faults=0)
    at.gauges.checkpointed(now)
    if head.size == 0:
        return latest
    signed = at.signer.sign_head(replace(head, at=now.isoformat()))
    if latest and (latest.head.size, latest.head.root, latest.key_id) == (head.size, head.root, signed.key_id):
        return latest
    at.checkpoints.add(signed)
    return signed


async def get_audit_checkpoint(query: GetAuditCheckpoint, at: Guardrail) -> dict[str, Any]:
    """Answers with what is kept even where the log is not sound any more."""
    faults: list[str] = []
    try:
        checkpoint = await current_checkpoint(at)
    except AuditLogUnsoundError as error:
        checkpoint, faults = at.checkpoints.latest(), [str(error)]
    fact = _fact(checkpoint).model_dump(mode="json") if checkpoint else None
    return {"checkpoint": fact, "stored": await at.audit.count(), "sound": not faults, "faults": faults}


async def read_audit_log(query: ReadAuditLog, at: Guardrail) -> dict[str, Any]:
    return {"entries": _within_a_message(await at.audit.page(query.after, query.limit))}


async def find_audit_entries(query: FindAuditEntries, at: Guardrail) -> dict[str, Any]:
    filters: dict[str, Any] = {name: value for name in ("action", "actor") if (value := getattr(query, name))}
    if query.since:
        filters["at"] = {"$gte": query.since}
    if query.about:
        fields = ("subject", "facts.change_id", "facts.rollback_id", "facts.measure_id")
        keys = [f"{kind}:{query.about}" for kind in ("scope", "measure", "dataset", "rollback")]
        filters["$or"] = [*({field: query.about} for field in fields), {"key": {"$in": keys}}]
    return {"entries": _within_a_message(await at.audit.matching(filters, query.limit))}


async def get_audit_proof(query: GetAuditProof, at: Guardrail) -> dict[str, Any]:
    """Raises `NotFoundError` for an entry or a size that the log does not have."""
    sequence = query.sequence or await _number_of(query.key, at)
    if sequence > query.size:
        raise _wrong("size", f"entry {sequence} is not among the first {query.size}")
    found = await at.audit.page(sequence - 1, 1)
    if not found:
        raise NotFoundError(f"the audit log has no entry {sequence}")
    parts = inclusion_parts(sequence - 1, query.size)
    return {"entry": found[0], "size": query.size, "path": await _proof(parts, at)}


async def get_audit_consistency(query: GetAuditConsistency, at: Guardrail) -> dict[str, Any]:
    """Raises `NotFoundError` for sizes that the log does not have."""
    if query.first > query.second:
        raise _wrong("first", f"a log of {query.first} entries is not the beginning of one of {query.second}")
    parts = consistency_parts(query.first, query.second)
    return {"first": query.first, "second": query.second, "path": await _proof(parts, at)}


async def _number_of(key: str, at: Guardrail) -> int:
    found = await at.audit.find(key)
    if found is None:
        raise NotFoundError(f"the audit log has no entry with the key {key!r}; evoline audit list shows numbers")
    return found.sequence


async def _proof(parts: list[list[Node]], at: Guardrail) -> list[str]:
    hashes = await at.audit.nodes([node for part in parts for node in part])
    return [each.hex() for each in proof(parts, hashes.__getitem__)]


def _within_a_message(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many of the first ones as one message holds, at least one."""
    kept: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        size += len(json.dumps(entry, default=str))
        if kept and size > MOST_BYTES:
            break
        kept.append(entry)
    return kept


def _fact(checkpoint: Checkpoint) -> AuditCheckpointed:
    head = checkpoint.head
    return AuditCheckpointed(size=head.size, root=head.root, at=head.at, key_id=checkpoint.key_id, note=checkpoint.note)


def _wrong(path: str, reason: str) -> InvalidInputError:
    return InvalidInputError(Problem(path=path, reason=reason, suggestion="ask GetAuditCheckpoint for the log's size"))
