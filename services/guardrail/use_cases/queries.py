"""Questions about changes, reviews and pipelines."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from services.guardrail.domain.oversight import excluded_names, standing
from services.guardrail.domain.records import ChangeRecord, Deployment, RevisionRecord
from services.guardrail.domain.risk import class_of
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.taking_out import AGAIN, FENCE
from shared.errors import NotAttestedError, NotFoundError
from shared.events.changes import GetChange, ListPromotions, ListReviews
from shared.events.deployments import GetPipeline, ListPipelines
from shared.events.oversight import GetReview
from shared.pipeline.suggestions import no_such_pipeline

_MOST_NAMES = 1000
"""Of pipelines that are looked through for one that is probably meant."""
_FENCES = (FENCE, ":fence")
"""Also those that are in the store from versions before."""


async def list_reviews(query: ListReviews, at: Guardrail) -> dict[str, Any]:
    now = at.clock.now()
    waiting = await queued_but(lambda record: datetime.fromisoformat(record.expires_at) <= now, query.limit, at)
    return {"reviews": [_review(record, at) for record in waiting]}


async def queued_but(is_stuck: Callable[[ChangeRecord], bool], limit: int, at: Guardrail) -> list[ChangeRecord]:
    """The oldest that wait for people, at most `limit`. Those that are stuck, as what expired during a freeze, are left out and
    hide none that came after them."""
    size = limit
    while True:
        found = await at.changes.queued(size)
        free = [record for record in found if not is_stuck(record)]
        if len(free) >= limit or len(found) < size:
            return free[:limit]
        size *= 2


async def get_change(query: GetChange, at: Guardrail) -> dict[str, Any]:
    record = await at.changes.get(query.change_id)
    if record is None:
        raise NotFoundError(f"there is no change {query.change_id!r}")
    return record.model_dump(mode="json")


async def list_promotions(query: ListPromotions, at: Guardrail) -> dict[str, Any]:
    return {"promotions": [_promotion(record) for record in await at.changes.promotions(query.pipeline, query.limit)]}


async def get_review(query: GetReview, at: Guardrail) -> dict[str, Any]:
    record = await at.changes.get(query.change_id)
    if record is None:
        raise NotFoundError(f"there is no change {query.change_id!r}; see `evoline review list`")
    rules = at.policy.document.reviews
    now = standing(record, rules)
    return {
        **record.model_dump(mode="json", exclude={"attestation", "version", "applied"}),
        "risk_class": class_of(record.risk),
        "votes": [each.reviewer for each in now.counted],
        "needed": now.rule.votes,
        "missing": now.missing,
        "role": now.rule.role,
        "excluded": list(excluded_names(record)),
    }


async def get_pipeline(query: GetPipeline, at: Guardrail) -> dict[str, Any]:
    revision = await _meant(query, at)
    name = revision.pipeline
    deployment = await at.deployments.get(name)
    revisions = sorted(await at.revisions.of_pipeline(name), key=lambda each: each.created_at)
    return {
        "name": name,
        "domain": revision.domain,
        "stable": deployment.stable if deployment else None,
        "canary": deployment.canary if deployment else None,
        "maturity": deployment.maturity if deployment else "experimental",
        "previous": list(deployment.previous) if deployment else [],
        "rolled_back": await _rolled_back(deployment, at),
        "generation": deployment.generation if deployment else 0,
        "updated_at": deployment.updated_at if deployment else "",
        "digest": revision.digest,
        "attestation": revision.attestation.model_dump(mode="json"),
        "frozen": await _frozen(name, revision.domain, at),
        "revisions": [{**_summary(each), "quarantine": await at.revisions.why_quarantined(each.digest)} for each in revisions],
        "document": revision.document,
    }


async def _meant(query: GetPipeline, at: Guardrail) -> RevisionRecord:
    try:
        return await resolved(query.pipeline, at, quarantined_too=True)
    except NotFoundError:
        approved = await at.revisions.of_pipeline(query.pipeline) if query.undeployed_too else ()
        if not approved or await at.deployments.get(query.pipeline) is not None:
            raise
        newest = max(approved, key=lambda each: each.created_at)
        at.signer.check(newest.attestation, kind=newest.kind, digest=newest.digest)
        return newest


async def _rolled_back(deployment: Deployment | None, at: Guardrail) -> dict[str, Any] | None:
    """The rollback that brought what serves, where nothing else moved the deployment since."""
    causes = [each for each in (deployment.causes if deployment else {}) if not each.endswith(_FENCES)]
    record = await at.rollbacks.get(causes[-1].removesuffix(AGAIN)) if causes else None
    if record is None or deployment is None or record.end[0] != deployment.stable:
        return None
    shown = record.model_dump(mode="json", include={"rollback_id", "from_digest", "author", "reason", "at"})
    return {**shown, "to_digest": deployment.stable}


async def list_pipelines(query: ListPipelines, at: Guardrail) -> dict[str, Any]:
    rows = await at.deployments.all(query.limit)
    return {
        "pipelines": [
            {
                "name": each.pipeline,
                "domain": each.domain,
                "stable": each.stable,
                "maturity": each.maturity,
                "generation": each.generation,
                "updated_at": each.updated_at,
                "quarantined": await at.revisions.is_quarantined(each.stable),
                "frozen": await _frozen(each.pipeline, each.domain, at),
            }
            for each in rows
        ]
    }


async def _frozen(pipeline: str, domain: str, at: Guardrail) -> str | None:
    """The freeze that keeps it as it is."""
    freeze = await at.freeze.holding(pipeline, domain)
    return freeze.freeze_id if freeze else None


async def resolved(reference: str, at: Guardrail, *, quarantined_too: bool = False) -> RevisionRecord:
    """The revision that a reference means now, its attestation checked. Raises `NotFoundError`, `NotAttestedError`."""
    name, _, wanted = reference.partition("@")
    revision = await _deployed(name, wanted, at) if wanted in ("", "stable", "canary") else await _by_digest(name, wanted, at)
    if revision.status == "quarantined" and not quarantined_too:
        raise NotAttestedError(f"{reference} is quarantined after a rollback")
    at.signer.check(revision.attestation, kind=revision.kind, digest=revision.digest)
    return revision


async def _deployed(name: str, wanted: str, at: Guardrail) -> RevisionRecord:
    deployment = await at.deployments.get(name)
    digest = None if deployment is None else deployment.canary if wanted == "canary" else deployment.stable
    revision = await at.revisions.get(digest) if digest else None
    if revision is None:
        if deployment is None and not await at.revisions.of_pipeline(name):
            raise NotFoundError(await unknown(name, at))
        raise NotFoundError(f"pipeline {name!r} has no {wanted or 'stable'} revision: `evoline pipelines` lists what serves")
    return revision


async def unknown(name: str, at: Guardrail) -> str:
    """What to say of a pipeline of which there is no revision at all."""
    return no_such_pipeline(name, tuple(each.pipeline for each in await at.deployments.all(_MOST_NAMES)))


async def _by_digest(name: str, wanted: str, at: Guardrail) -> RevisionRecord:
    revisions = await at.revisions.of_pipeline(name)
    if not revisions:
        raise NotFoundError(await unknown(name, at))
    found = [each for each in revisions if each.digest.startswith(wanted)]
    if len(found) != 1:
        raise NotFoundError(
            f"{wanted!r} names {len(found)} revisions of pipeline {name!r}; evoline show pipeline {name} lists them"
        )
    return found[0]


def _review(record: ChangeRecord, at: Guardrail) -> dict[str, Any]:
    fields = (
        "change_id",
        "kind",
        "pipeline",
        "digest",
        "author",
        "risk",
        "risk_class",
        "risk_reasons",
        "reasons",
        "diff",
        "created_at",
        "expires_at",
    )
    row = record.model_dump(mode="json", include=set(fields))
    now = standing(record, at.policy.document.reviews)
    votes = {"votes": [each.reviewer for each in now.counted], "missing": now.missing, "role": now.rule.role}
    gate = record.gate.model_dump(mode="json") if record.gate else None
    return {**{name: row[name] for name in fields}, **votes, "gate": gate}


def _promotion(record: ChangeRecord) -> dict[str, Any]:
    known = {"change_id", "digest", "parent_digest", "author", "requested_by", "group_id", "status", "decided_by", "reasons"}
    seen = {"verdict", "gain", "gain_low", "gain_high", "claim"}
    return {
        **record.model_dump(mode="json", include=known | {"created_at", "decided_at"}),
        "gate": record.gate.model_dump(mode="json", include=seen) if record.gate else None,
    }


def _summary(revision: RevisionRecord) -> dict[str, Any]:
    return {
        "digest": revision.digest,
        "status": revision.status,
        "change_id": revision.change_id,
        "parent_digest": revision.parent_digest,
        "origins": list(revision.origins),
        "author": revision.author,
        "approved_by": revision.approved_by,
        "created_at": revision.created_at,
    }
