"""A judged change's verdict: by checks that no policy overrules, by the policy, by the sealed gate."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.guardrail.domain.policy import NOTHING_MATCHED, PolicyDecision
from services.guardrail.domain.records import ChangeRecord
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.applying import attested
from services.guardrail.use_cases.judging import Dossier, compiled, described, objections, policy_names, ruled
from services.guardrail.use_cases.maturity_changes import assess_maturity
from services.guardrail.use_cases.policies import in_force
from services.guardrail.use_cases.policy_changes import assess_policy
from services.guardrail.use_cases.sealed_gate import GateRefusedError, pass_gate
from shared.errors import InvalidInputError, Problem
from shared.events.changes import GateFinished

CHECK, GATE = "check", "gate"


async def judged(record: ChangeRecord, at: Guardrail, *, patient: bool) -> ChangeRecord:
    """The record as approved, queued or vetoed. `patient`: a look at the sealed cases that is not complete may be tried again."""
    if record.kind in ("policy", "maturity"):
        record, decision = await (assess_policy if record.kind == "policy" else assess_maturity)(record, at)
        return await settled(record, decision, at)
    try:
        dossier = await compiled(record, at)
    except InvalidInputError as error:
        return await vetoed(record, at, CHECK, ("the document is not valid; mend every problem listed",), problems=error.problems)
    record = described(record, dossier, at)
    if found := await objections(record, dossier, at):
        return await vetoed(record, at, CHECK, found)
    record, decision = ruled(record, policy_names(record, dossier), at)
    if record.kind == "promotion" and decision.effect != "veto":
        return await _promoted(record, dossier, at, patient=patient)
    return await settled(_with_rollout(record, dossier, at), decision, at)


async def settled(record: ChangeRecord, decision: PolicyDecision, at: Guardrail) -> ChangeRecord:
    if decision.effect == "veto":
        return await vetoed(record, at, decision.decided_by, decision.reasons)
    if decision.effect == "review":
        return await queued(record, at, decision.decided_by, decision.reasons)
    return await approved(record, at, decision.decided_by, decision.reasons)


async def approved(record: ChangeRecord, at: Guardrail, by: str, reasons: tuple[str, ...]) -> ChangeRecord:
    now = at.clock.now()
    record = record.model_copy(
        update={"status": "approved", "decided_by": by, "reasons": reasons, "decided_at": now.isoformat(), "expires_at": ""}
    )
    record = await at.changes.save(record.model_copy(update={"attestation": attested(record, at, now)}))
    _measured(record, at)
    return record


async def queued(record: ChangeRecord, at: Guardrail, by: str, reasons: tuple[str, ...]) -> ChangeRecord:
    now = at.clock.now()
    update = {
        "status": "queued",
        "decided_by": by,
        "reasons": reasons,
        "decided_at": now.isoformat(),
        "expires_at": (now + timedelta(hours=at.policy.document.review_hours)).isoformat(),
    }
    record = await at.changes.save(record.model_copy(update=update))
    _measured(record, at)
    return record


async def vetoed(
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
    record = await at.changes.save(record.model_copy(update=update))
    _measured(record, at)
    return record


async def _promoted(record: ChangeRecord, dossier: Dossier, at: Guardrail, *, patient: bool) -> ChangeRecord:
    if record.status != "measuring":
        record = await at.changes.save(record.model_copy(update={"status": "measuring"}))
    try:
        gate = record.gate or await _looked_at(record, dossier, at, patient=patient)
    except GateRefusedError as error:
        return await vetoed(record, at, GATE, (str(error),))
    record, at = record.model_copy(update={"gate": gate}), await in_force(at)  # a look takes minutes
    if gate.verdict == "rejected":
        return await vetoed(record, at, GATE, gate.reasons, bars_digest=True)
    if gate.verdict == "canary":
        return await _undecided(record, dossier, at)
    record, decision = ruled(record, policy_names(record, dossier), at)
    return await settled(_with_rollout(record, dossier, at), decision, at)


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


async def _undecided(record: ChangeRecord, dossier: Dossier, at: Guardrail) -> ChangeRecord:
    assert record.gate is not None, "undecided is a verdict of the gate"
    needed = record.gate.more_cases_needed
    more = f"needs {needed} more sealed cases" if needed else "no number of further cases would help at what was seen"
    reasons = (f"not shown better; {more}", *record.gate.reasons)
    if at.policy.document.gate.on_undecided == "review":
        return await queued(record, at, GATE, reasons)
    if at.policy.document.gate.on_undecided == "rollout" and record.deploy:
        return await _proved_online(record, dossier, reasons, at)
    return await vetoed(record, at, GATE, reasons)


async def _proved_online(record: ChangeRecord, dossier: Dossier, reasons: tuple[str, ...], at: Guardrail) -> ChangeRecord:
    """A candidate not shown to be worse may show by a rollout what it is; rules that veto or ask for people are heard first."""
    record, decision = ruled(record, policy_names(record, dossier), at)
    record = record.model_copy(update={"rollout": record.rollout or at.policy.document.rollout.plan})
    if decision.effect == "veto":
        return await vetoed(record, at, decision.decided_by, decision.reasons)
    if decision.effect == "review" and decision.decided_by != f"policy:{NOTHING_MATCHED}":
        return await queued(record, at, decision.decided_by, (*decision.reasons, *reasons))
    return await approved(record, at, GATE, ("by a rollout", *reasons))


def _measured(record: ChangeRecord, at: Guardrail) -> None:
    seconds = datetime.fromisoformat(record.decided_at) - datetime.fromisoformat(record.created_at)
    at.gauges.judged(record.kind, record.status, seconds.total_seconds())
