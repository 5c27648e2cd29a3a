"""A proposed change from the first look to its verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.guardrail.domain.policy import NOTHING_MATCHED, PolicyDecision
from services.guardrail.domain.records import SHIPPED_AUTHOR, SHIPPED_PREFIX, ChangeRecord
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.applying import apply, attested, held
from services.guardrail.use_cases.judging import Dossier, compiled, described, objections, policy_names, ruled
from services.guardrail.use_cases.maturity_changes import assess_maturity
from services.guardrail.use_cases.policies import in_force
from services.guardrail.use_cases.policy_changes import assess_policy
from services.guardrail.use_cases.sealed_gate import GateRefusedError, pass_gate
from services.guardrail.use_cases.telling import Effects, told
from shared.errors import InvalidInputError, Problem, TransientError
from shared.events.changes import GateFinished, ProposeChange
from shared.events.recovery import Freeze
from shared.identity import UNSIGNED, Signature

CHECK, GATE = "check", "gate"


@dataclass(frozen=True)
class Place:
    """The proposal's message: its id, and its place in the stream; 0 for what came by none."""

    message_id: str = ""
    sequence: int = 0


NOWHERE = Place()


async def propose_change(
    command: ProposeChange,
    at: Guardrail,
    *,
    attempt: int = 1,
    place: Place = NOWHERE,
    signature: Signature = UNSIGNED,
) -> Effects:
    """Idempotent by change id: a repeat, with whatever content, is answered with the verdict on the first one. Changes of one
    pipeline are judged in the order of the stream, by the policy in force when its turn comes; during a freeze they are kept, and
    judged later in that order.

    Raises `InvalidInputError` for an id or author under which only the system itself acts."""
    if command.change_id.startswith(SHIPPED_PREFIX) or command.author == SHIPPED_AUTHOR:
        raise InvalidInputError(f"ids `{SHIPPED_PREFIX}...` and the author `{SHIPPED_AUTHOR}` are the system's own; choose others")
    opened = ChangeRecord.opened(command, at.clock.now().isoformat(), signature)
    record = await at.changes.open(opened.model_copy(update={"cause": place.message_id, "sequence": place.sequence, "version": 0}))
    patient = attempt < at.limits.patient_attempts
    async with at.turns.of(record.pipeline):
        try:
            return await _in_its_turn(record, at, patient=patient)
        except LostRaceError:
            known = await at.changes.get(record.change_id)
            if known is None or known.is_open:
                raise
            # A repeat of what was judged before, or what another process judged meanwhile.
            _, effects = await carried_on(known, await in_force(at), patient=patient)
            return effects


async def _in_its_turn(record: ChangeRecord, at: Guardrail, *, patient: bool) -> Effects:
    at, freeze, earlier = await asyncio.gather(in_force(at), _freeze_of(record, at), _earlier(record, at))
    if earlier and freeze:
        # It waits behind them, however many they are: what is held is carried on in its order.
        return await told(await held(record, freeze, at), at)
    if earlier:
        await _carry_on(earlier, at, patient=patient)
        freeze = await _freeze_of(record, at)
    _, effects = await _resumed(record, freeze, at, patient=patient)
    return effects


async def _earlier(record: ChangeRecord, at: Guardrail) -> Sequence[str]:
    return await at.changes.earlier(record) if record.is_open and record.sequence else ()


async def _freeze_of(record: ChangeRecord, at: Guardrail) -> Freeze | None:
    """Why it may not be judged now."""
    return await at.freeze.holding(record.pipeline, record.domain) if record.is_open else None


async def carried_on(record: ChangeRecord, at: Guardrail, *, patient: bool) -> tuple[ChangeRecord, Effects]:
    """The record from wherever it stands to its verdict and effect, or to being held, with what is to be told of it."""
    return await _resumed(record, await _freeze_of(record, at), at, patient=patient)


async def _resumed(record: ChangeRecord, freeze: Freeze | None, at: Guardrail, *, patient: bool) -> tuple[ChangeRecord, Effects]:
    if freeze:
        record = await held(record, freeze, at)
        return record, await told(record, at)
    is_first = record.is_open
    if is_first:
        record = await judged(record, at, patient=patient)
    if record.status == "approved":
        record = await apply(record, at)
    return record, await told(record, at, with_gate=not record.decisions, is_first=is_first)


async def _carry_on(change_ids: Sequence[str], at: Guardrail, *, patient: bool) -> None:
    """One that failed and will be delivered again, or that another process took, is judged before those that came after it; its
    own delivery then tells it. Whoever is faster writes: the other one's write is refused."""
    for change_id in change_ids:
        earlier = await at.changes.get(change_id)
        if earlier is None or not earlier.is_open:
            continue  # judged meanwhile, by whoever took it
        try:
            await carried_on(earlier, at, patient=patient)
        except TransientError:
            raise
        except Exception:
            # What cannot be judged at all is buried by its own delivery; it must not take others with it.
            structlog.get_logger("services.guardrail").exception("earlier change skipped", change_id=change_id)


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
