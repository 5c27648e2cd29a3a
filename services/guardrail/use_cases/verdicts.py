"""A judged change's verdict: by checks that no policy overrules, by the policy, by the sealed gate."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta

from services.guardrail.domain.policy import NOTHING_MATCHED, PolicyDecision
from services.guardrail.domain.records import ChangeRecord
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.applying import attested
from services.guardrail.use_cases.judging import Dossier, described, policy_names, ruled
from services.guardrail.use_cases.maturity_changes import assess_maturity
from services.guardrail.use_cases.objecting import Look
from services.guardrail.use_cases.policies import in_force
from services.guardrail.use_cases.policy_changes import assess_policy
from services.guardrail.use_cases.sealed_gate import GateRefusedError, pass_gate
from shared.errors import InvalidInputError, Problem
from shared.events.changes import GateFinished

CHECK, GATE = "check", "gate"
ASSESSED = ("policy", "maturity")
"""Kinds whose document is no pipeline."""


async def written(verdict: ChangeRecord, at: Guardrail) -> ChangeRecord:
    """Raises `LostRaceError`."""
    record = await at.changes.save(verdict)
    seconds = datetime.fromisoformat(record.decided_at) - datetime.fromisoformat(record.created_at)
    at.gauges.judged(record.kind, record.status, seconds.total_seconds())
    return record


async def judged(record: ChangeRecord, look: Awaitable[Look] | None, at: Guardrail, *, patient: bool) -> ChangeRecord:
    """The record as approved, queued or vetoed, not written yet. `patient`: a look at the sealed cases that is not complete may be
    tried again."""
    if record.kind in ASSESSED:
        record, decision = await (assess_policy if record.kind == "policy" else assess_maturity)(record, at)
        return settled(record, decision, at)
    assert look is not None, "whoever has a pipeline judged had a look at it"
    try:
        seen = await look
    except InvalidInputError as error:
        return vetoed(record, at, CHECK, ("the document is not valid; mend every problem listed",), problems=error.problems)
    record, dossier = described(record, seen.dossier, at), seen.dossier
    if seen.objections:
        return vetoed(record, at, CHECK, seen.objections)
    record, decision = ruled(record, policy_names(record, dossier), at)
    if record.kind == "promotion" and decision.effect != "veto":
        return await _promoted(record, dossier, at, patient=patient)
    return settled(_with_rollout(record, dossier, at), decision, at)


def settled(record: ChangeRecord, decision: PolicyDecision, at: Guardrail) -> ChangeRecord:
    if decision.effect == "veto":
        return vetoed(record, at, decision.decided_by, decision.reasons)
    if decision.effect == "review":
        return queued(record, at, decision.decided_by, decision.reasons)
    return approved(record, at, decision.decided_by, decision.reasons)


def approved(record: ChangeRecord, at: Guardrail, by: str, reasons: tuple[str, ...]) -> ChangeRecord:
    now = at.clock.now()
    record = record.model_copy(
        update={"status": "approved", "decided_by": by, "reasons": reasons, "decided_at": now.isoformat(), "expires_at": ""}
    )
    return record.model_copy(update={"attestation": attested(record, at, now)})


def queued(record: ChangeRecord, at: Guardrail, by: str, reasons: tuple[str, ...]) -> ChangeRecord:
    now = at.clock.now()
    update = {
        "status": "queued",
        "decided_by": by,
        "reasons": reasons,
        "decided_at": now.isoformat(),
        "expires_at": (now + timedelta(hours=at.policy.document.review_hours)).isoformat(),
    }
    return record.model_copy(update=update)


def vetoed(
    record: ChangeRecord,
    at: Guardrail,
    by: str,
    reasons: tuple[str, ...],
    *,
    problems: tuple[Problem, ...] = (),
    bars_digest: bool = False,
) -> ChangeRecord:
    """`bars_digest`: the same revision is vetoed under any other change id from now on."""
    update = {
        "status": "vetoed",
        "decided_by": by,
        "reasons": reasons,
        "problems": problems,
        "bars_digest": bars_digest,
        "decided_at": at.clock.now().isoformat(),
        "expires_at": "",
    }
    return record.model_copy(update=update)


async def _promoted(record: ChangeRecord, dossier: Dossier, at: Guardrail, *, patient: bool) -> ChangeRecord:
    if record.status != "measuring":
        record = await at.changes.save(record.model_copy(update={"status": "measuring"}))
    try:
        gate = record.gate or await _looked_at(record, dossier, at, patient=patient)
    except GateRefusedError as error:
        return vetoed(record, at, GATE, (str(error),))
    record, at = record.model_copy(update={"gate": gate}), await in_force(at)  # a look takes minutes
    if gate.verdict == "rejected":
        return vetoed(record, at, GATE, gate.reasons, bars_digest=True)
    if gate.verdict == "canary":
        return _undecided(record, dossier, at)
    record, decision = ruled(record, policy_names(record, dossier), at)
    return settled(_with_rollout(record, dossier, at), decision, at)


async def _looked_at(record: ChangeRecord, dossier: Dossier, at: Guardrail, *, patient: bool) -> GateFinished:
    async with at.turns.looks:
        return await pass_gate(record, dossier, at, patient=patient)


def _with_rollout(record: ChangeRecord, dossier: Dossier, at: Guardrail) -> ChangeRecord:
    """Where policy asks for a rollout and the author gave no plan, policy's."""
    if record.rollout is not None or not record.deploy or dossier.deployment is None:
        return record
    rule = at.policy.document.rollout
    wanted = at.policy.requires_rollout(policy_names(record, dossier))
    return record.model_copy(update={"rollout": rule.plan}) if wanted else record


def _undecided(record: ChangeRecord, dossier: Dossier, at: Guardrail) -> ChangeRecord:
    assert record.gate is not None, "undecided is a verdict of the gate"
    needed = record.gate.more_cases_needed
    more = f"needs {needed} more sealed cases" if needed else "no number of further cases would help at what was seen"
    reasons = (f"not shown better; {more}", *record.gate.reasons)
    if at.policy.document.gate.on_undecided == "review":
        return queued(record, at, GATE, reasons)
    if at.policy.document.gate.on_undecided == "rollout" and record.deploy:
        return _proved_online(record, dossier, reasons, at)
    return vetoed(record, at, GATE, reasons)


def _proved_online(record: ChangeRecord, dossier: Dossier, reasons: tuple[str, ...], at: Guardrail) -> ChangeRecord:
    """A candidate not shown to be worse may show by a rollout what it is; rules that veto or ask for people are heard first."""
    record, decision = ruled(record, policy_names(record, dossier), at)
    record = record.model_copy(update={"rollout": record.rollout or at.policy.document.rollout.plan})
    if decision.effect == "veto":
        return vetoed(record, at, decision.decided_by, decision.reasons)
    if decision.effect == "review" and decision.decided_by != f"policy:{NOTHING_MATCHED}":
        return queued(record, at, decision.decided_by, (*decision.reasons, *reasons))
    return approved(record, at, GATE, ("by a rollout", *reasons))
