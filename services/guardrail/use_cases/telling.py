"""What a record means to the outside: its audit entries and its facts, the same however often they are told."""

from __future__ import annotations

from typing import Any

from services.guardrail.domain.audit import AuditNote, evidence_hash
from services.guardrail.domain.records import ChangeRecord, ReviewDecision
from services.guardrail.ports import Guardrail
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed
from shared.events.deployments import PipelineDeployed
from shared.events.message import Message
from shared.events.oversight import ChangesRequested
from shared.events.policies import MaturityChanged, PolicyActivated
from shared.events.recovery import ChangeHeld

Effects = list[tuple[str, Message]]
_DEPLOYED = {"policy": "policy.activated", "maturity": "pipeline.maturity_changed"}
"""Audit action of what a change of this kind did, other than deploying a revision."""


async def told(record: ChangeRecord, at: Guardrail, *, with_gate: bool = True, is_first: bool = False) -> Effects:
    """Audits the record's outcome, then returns its facts. `is_first`: the caller wrote this outcome just now. Raises `ValueError`
    for a record that is neither decided nor held."""
    if record.is_held:
        return [("held", held_fact(record))]
    await at.audit.append(outcome_note(record), is_first=is_first)
    if record.generation:
        await at.audit.append(deployment_note(record), is_first=is_first)
    facts: Effects = [("gate", record.gate)] if record.gate and with_gate else []
    facts.append(("verdict", verdict_fact(record)))
    if record.generation:
        facts.append(("deployed", effect_fact(record)))
    return facts


def effect_fact(record: ChangeRecord) -> Message:
    """What the change did to what is in force."""
    if record.kind == "policy":
        return PolicyActivated(
            policy=record.pipeline,
            version=record.document["version"],
            revision=record.digest,
            previous_revision=record.incumbent_digest,
            change_id=record.change_id,
            activated_by=record.decided_by,
            generation=record.generation,
        )
    if record.kind == "maturity":
        return MaturityChanged(
            pipeline=record.pipeline,
            maturity=record.document["maturity"],
            previous_maturity=record.diff[0].split(": ", 1)[1].split(" -> ")[0],
            digest=record.incumbent_digest,
            change_id=record.change_id,
            generation=record.generation,
        )
    return deployed_fact(record)


def verdict_fact(record: ChangeRecord) -> ChangeApproved | ChangeQueued | ChangeVetoed | ChangesRequested:
    if record.status == "approved":
        return approved_fact(record)
    if record.status == "queued":
        return queued_fact(record)
    if record.status in ("vetoed", "expired"):
        return vetoed_fact(record)
    if record.status == "changes_requested":
        return changes_requested_fact(record)
    raise ValueError(f"change {record.change_id} is {record.status}: there is nothing to tell yet")


def held_fact(record: ChangeRecord) -> ChangeHeld:
    return ChangeHeld(
        change_id=record.change_id,
        pipeline=record.pipeline,
        author=record.author,
        freeze_id=record.held_by,
        reason="came during a freeze: kept, and judged in its order when that ends (evoline unfreeze)",
        group_id=record.group_id,
    )


def approved_fact(record: ChangeRecord) -> ChangeApproved:
    assert record.attestation is not None, "an approved change carries its attestation"
    return ChangeApproved(
        change_id=record.change_id,
        kind=record.kind,
        pipeline=record.pipeline,
        digest=record.digest,
        document=record.document,
        domain=record.domain,
        author=record.author,
        approved_by=record.decided_by,
        risk=record.risk,
        risk_reasons=record.risk_reasons,
        reasons=record.reasons,
        policy_revision=record.policy_revision,
        attestation=record.attestation,
        group_id=record.group_id,
    )


def queued_fact(record: ChangeRecord) -> ChangeQueued:
    return ChangeQueued(
        change_id=record.change_id,
        kind=record.kind,
        pipeline=record.pipeline,
        digest=record.digest,
        author=record.author,
        risk=record.risk,
        risk_class=record.risk_class,
        risk_reasons=record.risk_reasons,
        reasons=record.reasons,
        group_id=record.group_id,
        expires_at=record.expires_at,
    )


def vetoed_fact(record: ChangeRecord) -> ChangeVetoed:
    return ChangeVetoed(
        change_id=record.change_id,
        kind=record.kind,
        pipeline=record.pipeline,
        digest=record.digest,
        author=record.author,
        vetoed_by=record.decided_by,
        risk=record.risk,
        reasons=record.reasons,
        problems=record.problems,
        group_id=record.group_id,
    )


def changes_requested_fact(record: ChangeRecord) -> ChangesRequested:
    return ChangesRequested(
        change_id=record.change_id,
        pipeline=record.pipeline,
        digest=record.digest,
        author=record.author,
        reviewer=record.decided_by.removeprefix("review:"),
        comment=record.reasons[0],
        group_id=record.group_id,
    )


def deployed_fact(record: ChangeRecord) -> PipelineDeployed:
    return PipelineDeployed(
        pipeline=record.pipeline,
        digest=record.digest,
        previous_digest=record.previous_digest,
        change_id=record.change_id,
        generation=record.generation,
    )


def vote(decision: ReviewDecision) -> dict[str, Any]:
    """With the signed message itself, so that whoever has the registry's keys can verify it."""
    return decision.model_dump(mode="json", exclude={"missing"})


def decision_note(record: ChangeRecord, decision: ReviewDecision) -> AuditNote:
    return AuditNote(
        key=f"review:{record.change_id}:{decision.decision_id}",
        at=decision.at,
        action=f"review.{decision.decision}",
        actor=decision.reviewer,
        subject=record.pipeline,
        digest=record.digest,
        policy_revision=decision.policy_revision or record.policy_revision,
        facts={"change_id": record.change_id, "vote": vote(decision.model_copy(update={"void": ""}))},
    )


def outcome_key(change_id: str, status: str) -> str:
    return f"change:{change_id}:{status}"


def outcome_note(record: ChangeRecord) -> AuditNote:
    based_on = {
        "evidence": [each.model_dump(mode="json") for each in record.evidence],
        "gate": record.gate.model_dump(mode="json") if record.gate else None,
        "diff": list(record.diff),
    }
    return AuditNote(
        key=outcome_key(record.change_id, record.status),
        at=record.decided_at,
        action=f"change.{record.status}",
        actor=record.decided_by,
        subject=record.pipeline,
        digest=record.digest,
        policy_revision=record.policy_revision,
        evidence_hash=evidence_hash(based_on),
        facts={
            "change_id": record.change_id,
            "kind": record.kind,
            "author": record.author,
            "author_verified": record.author_verified,
            "proposed_by": record.proposed_by,
            "requested_by": record.requested_by,
            "risk": record.risk,
            "reasons": list(record.reasons),
            "people": [_said(each) for each in record.decisions],
            "votes": [vote(each) for each in record.decisions],
            **({"origins": list(record.origins)} if record.origins else {}),
        },
    )


def _said(decision: ReviewDecision) -> str:
    return f"{decision.reviewer}: {decision.decision}" + (f", {decision.comment}" if decision.comment else "")


def deployment_note(record: ChangeRecord) -> AuditNote:
    return AuditNote(
        key=outcome_key(record.change_id, "deployed"),
        at=record.decided_at,
        action=_DEPLOYED.get(record.kind, "pipeline.deployed"),
        actor=record.decided_by,
        subject=record.pipeline,
        digest=record.digest,
        policy_revision=record.policy_revision,
        facts={"change_id": record.change_id, "previous_digest": record.previous_digest, "generation": record.generation},
    )
