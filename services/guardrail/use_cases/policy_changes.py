"""Activating a policy is a change: judged by the policy in force, and always at least reviewed by people."""

from __future__ import annotations

import json

from services.guardrail.domain.authors import is_person
from services.guardrail.domain.diff import compare_values
from services.guardrail.domain.names import completed
from services.guardrail.domain.policies import ActivePolicy, PolicyRecord
from services.guardrail.domain.policy import Policy, PolicyDecision
from services.guardrail.domain.records import ChangeRecord
from services.guardrail.domain.risk import risk_of_kinds
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.judging import ruled, told_risk
from services.guardrail.use_cases.policies import moved
from shared.errors import ConfigurationError, UnavailableError

MAX_POLICY_BYTES = 200_000
BY_CHECK = "check"
BY_PEOPLE = "a policy is activated only by people, whatever the rules say (`evoline review list`) [policy-needs-people]"


async def assess_policy(record: ChangeRecord, at: Guardrail) -> tuple[ChangeRecord, PolicyDecision]:
    """The record with digest, diff and risk, and what is to become of it. Never an approval."""
    try:
        policy = parsed(record)
    except ConfigurationError as error:
        return record, _no(f"{error}; mend it (`evoline policy validate FILE`) and propose it again")
    active = await _active(at)
    record = _described(record, policy, active, at)
    if problem := await _objection(record, active, at):
        return record, _no(problem)
    record, decision = ruled(record, _names(record, at), at)
    if policy.revision in active.previous and decision.effect == "veto":
        # A policy that vetoes everything must not keep people from going back to the one before.
        reasons = (f"it was in force before, so that rules cannot keep it out; they say: {'; '.join(decision.reasons)}", BY_PEOPLE)
        return record, PolicyDecision("review", decision.decided_by, reasons)
    return record, floored(decision)


def floored(decision: PolicyDecision) -> PolicyDecision:
    """The least that a policy's activation takes."""
    if decision.effect != "allow":
        return decision
    return PolicyDecision("review", "check:policy-needs-people", (*decision.reasons, BY_PEOPLE))


def parsed(record: ChangeRecord) -> Policy:
    """Raises `ConfigurationError`."""
    if len(json.dumps(record.document)) > MAX_POLICY_BYTES:
        raise ConfigurationError(f"the policy is larger than {MAX_POLICY_BYTES} bytes")
    policy = Policy.parse(record.document, record.pipeline)
    if policy.document.policy != record.pipeline:
        raise ConfigurationError(f"the policy is named {policy.document.policy!r}, but the change is for {record.pipeline!r}")
    return policy


async def activate(record: ChangeRecord, at: Guardrail) -> int | None:
    """The generation that the approved policy is in force since; None where another one was activated meanwhile."""
    policy, active = parsed(record), await _active(at)
    if record.change_id in active.causes:
        return active.causes[record.change_id]
    if active.revision != record.incumbent_digest or policy.revision != record.digest:
        return None
    await at.policies.add(
        PolicyRecord.of(
            policy,
            source="change",
            change_id=record.change_id,
            author=record.author,
            approved_by=record.decided_by,
            created_at=record.decided_at,
        )
    )
    return (await moved(at, active, policy, "change", record.change_id)).generation


async def _active(at: Guardrail) -> ActivePolicy:
    active = await at.policies.active()
    if active is None or active.revision != at.policy.revision:
        raise UnavailableError("the policy in force changed at this moment; the change is judged again")
    return active


def _described(record: ChangeRecord, policy: Policy, active: ActivePolicy, at: Guardrail) -> ChangeRecord:
    risk = risk_of_kinds(("policy",))
    return record.model_copy(
        update={
            "digest": policy.revision,
            "incumbent_digest": active.revision,
            "policy_revision": at.policy.revision,
            "risk": risk.score,
            "risk_class": risk.risk_class,
            "risk_reasons": risk.reasons,
            "diff": compare_values(at.policy.content, policy.content),
        }
    )


async def _objection(record: ChangeRecord, active: ActivePolicy, at: Guardrail) -> str:
    if not is_person(record.author):
        return f"{record.author!r} is a name of the system itself: only people propose a policy (`evoline policy propose FILE`)"
    if not record.author_is_person:
        return f"a policy is proposed by a person who signs it (`evoline policy propose FILE --as NAME`): {record.author_fault}"
    if record.digest == active.revision:
        return "no change: this policy is in force already (`evoline policy show`)"
    if record.digest in active.previous:
        return ""
    if former := await at.changes.barring(record.digest):
        return f"the same policy was vetoed in change {former.change_id} by {former.decided_by}; propose another one"
    return ""


def _names(record: ChangeRecord, at: Guardrail) -> dict[str, dict[str, object]]:
    risk = risk_of_kinds(("policy",))
    change = {
        "kind": "policy",
        "pipeline": record.pipeline,
        "domain": record.domain,
        "author": record.author,
        "author_verified": record.author_verified,
        "author_fault": record.author_fault,
        "maturity": "production",
        "maturity_before": "production",
        "replaces": True,
        "deploy": True,
    }
    return completed({"change": change, "diff": {"kinds": ["policy"], "lines": list(record.diff)}, "risk": told_risk(risk)})


def _no(reason: str) -> PolicyDecision:
    return PolicyDecision("veto", BY_CHECK, (reason,))
