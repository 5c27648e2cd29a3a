"""Raising a pipeline's maturity is a change; a person lowers it at once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from services.guardrail.domain.authors import is_person
from services.guardrail.domain.diff import Diff, DiffKind
from services.guardrail.domain.maturity import MATURITIES, Maturity, is_raised
from services.guardrail.domain.policy import PolicyDecision
from services.guardrail.domain.records import REMEMBERED_CAUSES, ChangeRecord, Deployment, RevisionRecord
from services.guardrail.domain.risk import risk_of_kinds
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.judging import Dossier, nested_maturities, policy_names, revision_of, ruled

LOWERED = "check:maturity-lowered"


async def assess_maturity(record: ChangeRecord, at: Guardrail) -> tuple[ChangeRecord, PolicyDecision]:
    """The record with digest and risk, and what is to become of it: the stable revision is judged as one of that maturity."""
    deployment = await at.deployments.get(record.pipeline)
    stable = await at.revisions.get(deployment.stable) if deployment else None
    if deployment is None or stable is None:
        return record, _no(f"there is no pipeline {record.pipeline!r} that serves (`evoline show pipeline`); deploy one first")
    wanted = _wanted(record)
    if wanted is None:
        return record, _no(f"`document` must be {{maturity: X}} with X one of {', '.join(MATURITIES)}; propose it again like that")
    raises = is_raised(deployment.maturity, wanted)
    record = _described(record, deployment, wanted, raises, at)
    if problem := await _objection(record, deployment, wanted, at):
        return record, _no(problem)
    if not raises and is_person(record.author) and record.author_is_person:
        reason = f"{deployment.maturity} -> {wanted}: less is trusted to it from now on; raise it again with `evoline maturity`"
        return record, PolicyDecision("allow", LOWERED, (reason,))
    return await _ruled(record, deployment, stable, wanted, at)


async def set_maturity(record: ChangeRecord, current: Deployment | None, at: Guardrail) -> int | None:
    """The deployment's generation with the new maturity; None where another revision became stable meanwhile.

    Raises `LostRaceError` where it is not `current` any more."""
    if current is not None and record.change_id in current.causes:
        return current.causes[record.change_id]
    wanted = _wanted(record)
    if current is None or wanted is None or current.stable != record.incumbent_digest:
        return None
    if _digest(current, wanted) != record.digest:
        return None
    generation = current.generation + 1
    kept = dict(list(current.causes.items())[-(REMEMBERED_CAUSES - 1) :])
    update = {
        "maturity": wanted,
        "generation": generation,
        "updated_at": at.clock.now().isoformat(),
        "causes": {**kept, record.change_id: generation},
    }
    if not await at.deployments.swap(current.model_copy(update=update), from_generation=current.generation):
        raise LostRaceError(f"the deployment of {record.pipeline} moved at this moment")
    return generation


async def _ruled(
    record: ChangeRecord, deployment: Deployment, stable: RevisionRecord, wanted: Maturity, at: Guardrail
) -> tuple[ChangeRecord, PolicyDecision]:
    revision = revision_of(stable)
    kinds: tuple[DiffKind, ...] = ("maturity",) if is_raised(deployment.maturity, wanted) else ()
    nested = await nested_maturities(revision.facts.nested, at)
    dossier = Dossier(revision.document, revision.facts, deployment, stable, Diff(kinds, record.diff), risk_of_kinds(kinds), nested)
    names = policy_names(record, dossier)
    change: dict[str, Any] = {
        "maturity": wanted,
        "raises": bool(kinds),
        "replaces": False,
        "new_pipeline": False,
        "name_taken": False,
    }
    change |= {"meta": record.pipeline in at.meta_names, "dataset": stable.dataset_id or "", "dataset_changed": False}
    record, decision = ruled(record, {**names, "change": {**names["change"], **change}}, at)
    if not kinds and decision.effect == "allow":
        by_people = "a service lowers no maturity on its own (`evoline review list`) [maturity-lowered]"
        return record, PolicyDecision("review", LOWERED, (*decision.reasons, by_people))
    return record, decision


async def _objection(record: ChangeRecord, deployment: Deployment, wanted: Maturity, at: Guardrail) -> str:
    if record.domain != deployment.domain:
        return f"the pipeline is of domain {deployment.domain!r}, the change says {record.domain!r}; propose it with the right one"
    if record.change_id in deployment.causes:
        return f"the id {record.change_id} is that of something else that moved this pipeline; propose with another id"
    if deployment.maturity == wanted:
        return f"no change: the pipeline is {wanted} already (`evoline show pipeline {record.pipeline}`)"
    if await at.revisions.is_quarantined(deployment.stable):
        return "its stable revision is quarantined after a rollback; deploy another one first"
    if former := await at.changes.barring(record.digest):
        return f"the same was vetoed in change {former.change_id} by {former.decided_by}; deploy a better revision first"
    return ""


def _wanted(record: ChangeRecord) -> Maturity | None:
    value = record.document.get("maturity")
    return next((each for each in MATURITIES if each == value and len(record.document) == 1), None)


def _described(record: ChangeRecord, deployment: Deployment, wanted: Maturity, raises: bool, at: Guardrail) -> ChangeRecord:
    risk = risk_of_kinds(("maturity",) if raises else ())
    return record.model_copy(
        update={
            "digest": _digest(deployment, wanted),
            "incumbent_digest": deployment.stable,
            "policy_revision": at.policy.revision,
            "risk": risk.score,
            "risk_class": risk.risk_class,
            "risk_reasons": risk.reasons,
            "diff": (f"~ maturity: {deployment.maturity} -> {wanted}",),
        }
    )


def _digest(deployment: Deployment, wanted: Maturity) -> str:
    """Names this step of this revision, so that a denial of it bars nothing else."""
    content = {"pipeline": deployment.pipeline, "stable": deployment.stable, "from": deployment.maturity, "to": wanted}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _no(reason: str) -> PolicyDecision:
    return PolicyDecision("veto", "check", (reason,))
