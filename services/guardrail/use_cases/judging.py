"""Gathers what a change is judged by: the checked document, what serves now, diff, risk, and the names that rules see."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.guardrail.domain.diff import Diff, Revision, Risk, compare, risk_of
from services.guardrail.domain.maturity import UNKNOWN
from services.guardrail.domain.policy import PolicyDecision
from services.guardrail.domain.records import ChangeRecord, Deployment, RevisionRecord
from services.guardrail.ports import Guardrail
from shared.errors import InvalidInputError, Problem
from shared.events.changes import Evidence
from shared.pipeline.document import Document, Limits
from shared.pipeline.facts import DocumentFacts, document_facts
from shared.pipeline.loading import load_document

MAX_ANCESTORS = 1000


@dataclass(frozen=True)
class Dossier:
    document: Document
    facts: DocumentFacts
    deployment: Deployment | None
    stable: RevisionRecord | None
    diff: Diff
    risk: Risk
    nested_maturities: tuple[str, ...] = ()
    """`name: maturity` of every pipeline that it runs by name."""
    problems: tuple[Problem, ...] = ()


async def compiled(record: ChangeRecord, at: Guardrail) -> Dossier:
    """Raises `InvalidInputError` with everything that is wrong with the document itself."""
    document = checked(record)
    return await compared(record, document, document_facts(document), at)


def checked(record: ChangeRecord) -> Document:
    """The document of a change. Raises `InvalidInputError` with everything that is wrong with it."""
    document = load_document(record.document)
    if problems := _mismatches(record, document):
        raise InvalidInputError(problems)
    return document


async def compared(record: ChangeRecord, document: Document, facts: DocumentFacts, at: Guardrail) -> Dossier:
    (deployment, stable), nested = await asyncio.gather(_serving(record, at), nested_maturities(facts.nested, at))
    diff = compare(
        revision_of(stable) if stable else None,
        Revision(document, facts),
        template=record.kind == "template",
        meta=record.kind != "template" and record.pipeline in at.meta_names,
        new_dataset=_is_other_dataset(record, stable),
    )
    return Dossier(document, facts, deployment, stable, diff, risk_of(diff), nested)


async def _serving(record: ChangeRecord, at: Guardrail) -> tuple[Deployment | None, RevisionRecord | None]:
    """What the change is compared with: the deployment, and its stable revision."""
    deployment = None if record.kind == "template" else await at.deployments.get(record.pipeline)
    return deployment, await at.revisions.get(deployment.stable) if deployment else None


async def nested_maturities(references: Sequence[str], at: Guardrail) -> tuple[str, ...]:
    found = set()
    for reference in references:
        name = reference.partition("@")[0]
        deployment = None if "{{" in reference else await at.deployments.get(name)
        found.add(f"{name}: {deployment.maturity if deployment else UNKNOWN}")
    return tuple(sorted(found))


def revision_of(record: RevisionRecord) -> Revision:
    document = load_document(record.document)
    return Revision(document, document_facts(document))


def described(record: ChangeRecord, dossier: Dossier, at: Guardrail) -> ChangeRecord:
    """The record with what was found out, before anything is decided."""
    return record.model_copy(
        update={
            "document": dossier.document.canonical(),
            "digest": dossier.document.digest,
            "incumbent_digest": dossier.deployment.stable if dossier.deployment else "",
            "policy_revision": at.policy.revision,
            "risk": dossier.risk.score,
            "risk_class": dossier.risk.risk_class,
            "risk_reasons": dossier.risk.reasons,
            "diff": dossier.diff.lines,
        }
    )


def ruled(record: ChangeRecord, names: dict[str, Any], at: Guardrail) -> tuple[ChangeRecord, PolicyDecision]:
    """What the policy says, and the record with what it was asked: so that another policy can be asked the same later."""
    decision = at.policy.decide(names)
    kept = {**names, "diff": {name: value for name, value in names["diff"].items() if name != "lines"}}
    update = {
        "names": kept,
        "rule_effect": decision.effect,
        "decided_by_rule": decision.decided_by,
        "policy_revision": at.policy.revision,
    }
    return record.model_copy(update=update), decision


def policy_names(record: ChangeRecord, dossier: Dossier) -> dict[str, Any]:
    """What the rules see; `docs/policy.md` lists it."""
    deployment, stable = dossier.deployment, dossier.stable
    return {
        "change": {
            "kind": record.kind,
            "pipeline": record.pipeline,
            "domain": record.domain,
            "author": record.author,
            "author_verified": record.author_verified,
            "author_fault": record.author_fault,
            "deploy": record.deploy,
            "new_pipeline": deployment is None,
            "replaces": record.deploy and deployment is not None,
            "meta": "meta_pipeline" in dossier.diff.kinds,
            "maturity": deployment.maturity if deployment else "experimental",
            "maturity_before": deployment.maturity if deployment else "experimental",
            "raises": False,
            "name_taken": deployment is not None and (deployment.author, deployment.domain) != (record.author, record.domain),
            "dataset": record.dataset_id or "",
            "dataset_changed": _is_other_dataset(record, stable),
        },
        "facts": {**listed(dossier.facts), "nested_maturities": list(dossier.nested_maturities)},
        "diff": {"kinds": list(dossier.diff.kinds), "lines": list(dossier.diff.lines)},
        "risk": told_risk(dossier.risk),
        "evidence": _evidence(record.evidence, record),
        "budget": budget(dossier.document.limits),
    }


async def descendants(digests: Sequence[str], at: Guardrail) -> tuple[RevisionRecord, ...]:
    """Everything bred from `digests`, over all generations, without `digests` themselves."""
    seen, found, edge = set(digests), [], list(digests)
    while edge:
        fresh = [child for child in await at.revisions.children(edge) if child.digest not in seen]
        seen.update(child.digest for child in fresh)
        found.extend(fresh)
        edge = [child.digest for child in fresh]
    return tuple(found)


async def quarantined_ancestor(digests: Sequence[str], at: Guardrail) -> str | None:
    """The nearest one that is quarantined, over everything that each was made from; the given digests themselves count."""
    seen: set[str] = set()
    edge = list(dict.fromkeys(digests))
    while edge and len(seen) < MAX_ANCESTORS:
        marks = await asyncio.gather(*(at.revisions.is_quarantined(each) for each in edge))
        if any(marks):
            return edge[marks.index(True)]
        seen.update(edge)
        found = await asyncio.gather(*(at.revisions.get(each) for each in edge))
        above = (digest for each in found if each is not None for digest in each.ancestry)
        edge = [digest for digest in dict.fromkeys(above) if digest not in seen]
    return None


def _mismatches(record: ChangeRecord, document: Document) -> list[Problem]:
    found = []
    if document.name != record.pipeline:
        found.append(Problem(path="document.name", reason=f"is {document.name!r}, but the change is for {record.pipeline!r}"))
    if document.domain != record.domain:
        found.append(Problem(path="document.domain", reason=f"is {document.domain!r}, but the change says {record.domain!r}"))
    return found


def told_risk(risk: Risk) -> dict[str, Any]:
    return {"score": float(risk.score), "class": risk.risk_class, "reasons": list(risk.reasons)}


def _is_other_dataset(record: ChangeRecord, stable: RevisionRecord | None) -> bool:
    return bool(stable and stable.dataset_id and stable.dataset_id != record.dataset_id)


def listed(facts: DocumentFacts) -> dict[str, Any]:
    return {
        "step_types": list(facts.step_types),
        "providers": list(facts.families),
        "functions": list(facts.functions),
        "models": list(facts.models),
        "nested": list(facts.nested),
        "steps": int(facts.steps),
        "estimated_calls": int(facts.estimated_calls),
        "estimated_tokens": int(facts.estimated_tokens),
        "prompt_characters": int(facts.prompt_characters),
    }


def _evidence(evidence: Sequence[Evidence], record: ChangeRecord) -> dict[str, Any]:
    scored = [each for each in evidence if each.score is not None]
    return {
        "kinds": sorted({each.kind for each in evidence}),
        "score": max((each.score.mean for each in scored if each.score), default=0.0),
        "cases": max((each.score.cases for each in scored if each.score), default=0),
        "gate": record.gate.verdict if record.gate else "",
    }


def budget(limits: Limits) -> dict[str, Any]:
    """Seconds and dollars as doubles, counts as integers: CEL compares like with like."""
    return {
        "seconds": float(limits.seconds),
        "steps": limits.steps,
        "calls": limits.calls,
        "tokens": limits.tokens,
        "cost_usd": float(limits.cost_usd),
        "depth": limits.depth,
        "concurrency": limits.concurrency,
        "cpu_seconds": float(limits.cpu_seconds),
        "memory_mb": limits.memory_mb,
    }
