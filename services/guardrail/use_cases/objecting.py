"""What no policy can allow, looked for at the same time as what a change is compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from services.guardrail.domain.records import ChangeRecord, Deployment
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.judging import Dossier, checked, compared, quarantined_ancestor
from services.guardrail.use_cases.under_way import under_way
from shared.pipeline.facts import document_facts


@dataclass(frozen=True)
class Look:
    """What a change is judged by, all read at the same time."""

    dossier: Dossier
    objections: tuple[str, ...]


async def looked_into(record: ChangeRecord, at: Guardrail) -> Look:
    """Raises `InvalidInputError` with everything that is wrong with the document itself."""
    document = checked(record)
    facts = document_facts(document)
    dossier, found = await asyncio.gather(
        compared(record, document, facts, at), _by_store(record, document.digest, facts.nested, at)
    )
    return Look(dossier, (*_by_deployment(record, dossier), *found, *_by_promotion(record, dossier)))


async def _by_store(record: ChangeRecord, digest: str, nested: Sequence[str], at: Guardrail) -> list[str]:
    found = await asyncio.gather(
        _taken_out(digest, at),
        _vetoed_before(digest, at),
        _bred_from_bad(record, at),
        _rolling_out(record, at),
        _wrong_successor(record, at),
        _unattested_children(nested, at),
    )
    return [objection for each in found for objection in each]


def _by_deployment(record: ChangeRecord, dossier: Dossier) -> list[str]:
    found, deployment = _taken_id(record, dossier.deployment), dossier.deployment
    if deployment and deployment.stable == dossier.document.digest:
        found.append("no change: this is the stable revision already; propose another document")
    if deployment and dossier.stable is None:
        found.append(f"the stable revision {deployment.stable[:12]} cannot be read: `evoline rollback` to another")
    return found


def _by_promotion(record: ChangeRecord, dossier: Dossier) -> list[str]:
    if record.kind != "promotion":
        return []
    found = []
    if dossier.deployment is None:
        found.append("there is no stable revision to be better than; propose it as `revision`")
    if not record.dataset_id:
        found.append("a promotion names the dataset that it is measured on: set `dataset_id`")
    if not record.author_verified:
        found.append(
            f"a promotion spends of the sealed cases' error budget, so somebody has to answer for it: {record.author_fault}"
        )
    return found


async def _taken_out(digest: str, at: Guardrail) -> list[str]:
    is_out = await at.revisions.is_quarantined(digest)
    return ["this revision is quarantined after a rollback; propose another one"] if is_out else []


async def _vetoed_before(digest: str, at: Guardrail) -> list[str]:
    former = await at.changes.barring(digest)
    if former is None:
        return []
    return [f"the same revision was vetoed in change {former.change_id} by {former.decided_by}; propose another one"]


async def _bred_from_bad(record: ChangeRecord, at: Guardrail) -> list[str]:
    ancestor = await quarantined_ancestor(record.ancestry, at)
    if ancestor is None:
        return []
    return [f"it descends from {ancestor[:12]}, which is quarantined after a rollback; propose one made from another"]


async def _rolling_out(record: ChangeRecord, at: Guardrail) -> list[str]:
    running = await under_way(record.pipeline, at) if record.deploy else None
    if running is None:
        return []
    how = f"wait for it, or end it: `evoline rollout abort {running.rollout_id}`"
    return [f"rollout {running.rollout_id} of {running.canary[:12]} is {running.state}; {how}"]


def _taken_id(record: ChangeRecord, deployment: Deployment | None) -> list[str]:
    """Or what something else did to the deployment would be taken for the effect of this change."""
    if deployment is None or record.change_id not in deployment.causes:
        return []
    return [f"the id {record.change_id} is that of something else that moved this pipeline; propose with another id"]


async def _wrong_successor(record: ChangeRecord, at: Guardrail) -> list[str]:
    if not record.successor_of:
        return []
    former = await at.changes.get(record.successor_of)
    if former is None or former.pipeline != record.pipeline or former.status != "changes_requested":
        return [f"it names {record.successor_of} as the change that it answers: no reviewer wanted that one otherwise"]
    if former.author != record.author:
        return [f"only {former.author}, its author, answers {record.successor_of}; propose without `successor_of`"]
    return []


async def _unattested_children(references: Sequence[str], at: Guardrail) -> list[str]:
    """References known before the run must lead to something that was approved; computed ones are checked when they run."""
    unknown = []
    for reference in references:
        name, _, at_digest = reference.partition("@")
        if "{{" in reference:
            continue
        deployment = await at.deployments.get(name)
        known = deployment is not None and at_digest in ("", "stable")
        if not known and at_digest not in ("", "stable", "canary"):
            known = any(
                each.digest.startswith(at_digest) and each.status == "approved" for each in await at.revisions.of_pipeline(name)
            )
        if not known:
            unknown.append(f"it runs pipeline `{reference}`, which nobody approved; propose that one first")
    return unknown
