"""Proposing a change by hand: a pipeline, a policy, or another maturity of a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from evoline.client.api import Client, new_id
from evoline.client.talk import OnFact, Talk, hold, ignore
from shared.errors import NotFoundError
from shared.events import Fact
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished, GetChange, ListReviews, ProposeChange
from shared.events.deployments import GetPipeline
from shared.events.policies import GetPolicy
from shared.events.recovery import ChangeHeld
from shared.events.runs import RunFinished
from shared.pipeline.document import Document

Verdict = ChangeApproved | ChangeVetoed | ChangeQueued | ChangeHeld
QUEUE_LIMIT = 500
SAME = ("document", "domain", "dataset_id", "deploy", "rollout", "successor_of")
"""What two proposals of one author have to share to be the same wish; the reason may be worded anew."""


@dataclass(frozen=True)
class PipelineWish:
    """How a document is proposed; with a dataset it has to pass the sealed gate."""

    reason: str
    dataset_id: str | None = None
    deploy: bool = True
    parent_digest: str | None = None


async def propose_pipeline(client: Client, document: Document, wish: PipelineWish, *, timeout_seconds: float = 60) -> Verdict:
    command = ProposeChange(
        change_id=new_id("change"),
        kind="promotion" if wish.dataset_id else "revision",
        pipeline=document.name,
        document=document.canonical(),
        domain=document.domain,
        author=client.author,
        reason=wish.reason,
        dataset_id=wish.dataset_id,
        deploy=wish.deploy,
        parent_digest=wish.parent_digest,
    )
    return await propose(client, command, timeout_seconds=timeout_seconds)


async def propose_policy(client: Client, document: dict[str, Any], reason: str) -> Verdict:
    """Raises ValidationError where the document has no usable name."""
    command = ProposeChange.model_validate(
        {
            "change_id": new_id("policy"),
            "kind": "policy",
            "pipeline": document.get("policy", ""),
            "document": document,
            "domain": "general",
            "author": client.author,
            "reason": reason,
        }
    )
    return await propose(client, command)


async def return_to_policy(client: Client, revision: str, reason: str) -> Verdict:
    """Proposes a former version again; empty means the one before the one in force. Raises NotFoundError."""
    if not revision:
        previous = (await client.ask(GetPolicy()))["previous"]
        if not previous:
            raise NotFoundError("no other policy was in force before: there is nothing to go back to (`evoline policy list`)")
        revision = previous[-1]
    found = await client.ask(GetPolicy(revision=revision))
    return await propose_policy(client, found["document"], reason)


async def propose_maturity(client: Client, pipeline: str, maturity: str, reason: str) -> Verdict:
    """Raises NotFoundError for an unknown pipeline."""
    domain = (await client.ask(GetPipeline(pipeline=pipeline)))["domain"]
    command = ProposeChange.model_validate(
        {
            "change_id": new_id("maturity"),
            "kind": "maturity",
            "pipeline": pipeline,
            "document": {"maturity": maturity},
            "domain": domain,
            "author": client.author,
            "reason": reason,
        }
    )
    return await propose(client, command)


async def propose(client: Client, command: ProposeChange, *, timeout_seconds: float = 60, on_fact: OnFact = ignore) -> Verdict:
    """The first verdict: approved, vetoed, queued for people, held by a freeze. Raises UnavailableError where none is told.

    What waits for people already, from the same author, is not queued a second time: its place in the queue is the answer."""
    waiting = await _waiting(client, command)
    if waiting is not None:
        return waiting
    talk = Talk(
        key=command.change_id,
        command=command,
        ends=(ChangeApproved, ChangeVetoed, ChangeQueued, ChangeHeld),
        progress=(GateFinished, RunFinished),
        belongs=lambda fact: _is_of(fact, command.change_id),
        timeout_seconds=timeout_seconds,
        look_later=f"evoline show change {command.change_id}",
    )
    return cast("Verdict", await hold(client.bus, talk, on_fact))


def _is_of(fact: Fact, change_id: str) -> bool:
    """Runs of a look at the sealed cases belong to its change."""
    return change_id in (getattr(fact, "change_id", ""), fact.group_id if isinstance(fact, RunFinished) else "")


async def _waiting(client: Client, command: ProposeChange) -> ChangeQueued | None:
    wish = command.model_dump(mode="json")
    for row in (await client.ask(ListReviews(limit=QUEUE_LIMIT)))["reviews"]:
        if any(row[name] != wish[name] for name in ("kind", "pipeline", "author")):
            continue
        record = await client.ask(GetChange(change_id=row["change_id"]))
        if all(record[name] == wish[name] for name in SAME):
            return ChangeQueued.model_validate({name: record[name] for name in ChangeQueued.model_fields if name in record})
    return None
