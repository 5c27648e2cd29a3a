"""The system's own pipelines: what ships with it is attested at start, and nothing else is deployed by the service itself."""

from __future__ import annotations

from collections.abc import Sequence

from services.guardrail.domain.records import SHIPPED_APPROVER, SHIPPED_AUTHOR, SHIPPED_PREFIX, ChangeRecord, Deployment
from services.guardrail.ports import Guardrail, LostRaceError
from services.guardrail.use_cases.applying import apply, attested
from services.guardrail.use_cases.telling import Effects, told
from shared.errors import ConfigurationError, UnavailableError
from shared.pipeline.document import Document
from shared.pipeline.loading import load_document

MAX_RACES = 20


async def attest_shipped(documents: Sequence[Document], at: Guardrail) -> Effects:
    """A shipped document becomes stable where nothing serves its name, or where what serves was shipped too.

    A revision that people or the gate put there stays, and so does the answer to a rollback: a quarantined digest is not
    brought back by a restart. Effects are named by change."""
    effects: Effects = []
    for document in documents:
        effects += await _attested_once(document, at)
    return effects


async def _attested_once(document: Document, at: Guardrail) -> Effects:
    """Guardrails that start at the same moment meet here: whoever loses a race looks again and finds it done."""
    for _ in range(MAX_RACES):
        try:
            return await _attest(document, at)
        except LostRaceError:
            continue
    raise UnavailableError(f"{document.name} is being deployed by other processes all the time")


async def _attest(document: Document, at: Guardrail) -> Effects:
    current = await at.deployments.get(document.name)
    if current is not None and current.stable == document.digest:
        return await _finished(current, at)
    if not await _is_due(document, current, at):
        return []
    wanted = _record(document, current, at)
    # A start that was cut off may have approved it already.
    record = await at.changes.get(wanted.change_id) or await at.changes.open(wanted)
    if record.author != SHIPPED_AUTHOR or load_document(record.document).digest != document.digest:
        raise ConfigurationError(f"change {record.change_id} in the store is not the shipped document: the store was tampered with")
    if record.status == "proposed":
        record = await _approved(record, at)
    return await _applied(record, at)


async def _finished(current: Deployment, at: Guardrail) -> Effects:
    """Where a crash came between the compare-and-set and the record of it, the rest is done now."""
    cause = list(current.causes)[-1]
    record = await at.changes.get(cause) if cause.startswith(SHIPPED_PREFIX) else None
    return await _applied(record, at) if record else []


async def _applied(record: ChangeRecord, at: Guardrail) -> Effects:
    if record.status != "approved" or record.applied:
        return []
    record = await apply(record, at)
    return [(f"{record.change_id}:{effect}", fact) for effect, fact in await told(record, at)]


async def _is_due(document: Document, current: Deployment | None, at: Guardrail) -> bool:
    if await at.revisions.is_quarantined(document.digest):
        return False
    if current is None:
        return True
    stable = await at.revisions.get(current.stable)
    return stable is not None and stable.approved_by == SHIPPED_APPROVER


def _record(document: Document, current: Deployment | None, at: Guardrail) -> ChangeRecord:
    """The id names the document and what it follows, so that a restart goes on where it was and a later return is a new change."""
    return ChangeRecord(
        change_id=f"{SHIPPED_PREFIX}{document.digest[:40]}-{current.generation if current else 0}",
        kind="revision",
        pipeline=document.name,
        domain=document.domain,
        author=SHIPPED_AUTHOR,
        reason="ships with the system",
        document=document.canonical(),
        digest=document.digest,
        incumbent_digest=current.stable if current else "",
        deploy=True,
        created_at=at.clock.now().isoformat(),
    )


async def _approved(record: ChangeRecord, at: Guardrail) -> ChangeRecord:
    now = at.clock.now()
    record = record.model_copy(
        update={
            "status": "approved",
            "decided_by": SHIPPED_APPROVER,
            "reasons": ("ships with the system",),
            "policy_revision": at.policy.revision,
            "decided_at": now.isoformat(),
        }
    )
    return await at.changes.save(record.model_copy(update={"attestation": attested(record, at, now)}))
