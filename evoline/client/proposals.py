"""Proposing a change by hand: a policy, or another maturity of a pipeline."""

from __future__ import annotations

from typing import Any, cast

from evoline.client.api import Client, new_id
from evoline.client.talk import Talk, hold
from shared.errors import NotFoundError, UnavailableError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GetPipeline, ProposeChange
from shared.events.policies import GetPolicy
from shared.events.recovery import ChangeHeld

Verdict = ChangeApproved | ChangeVetoed | ChangeQueued


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


async def propose(client: Client, command: ProposeChange, *, timeout_seconds: float = 60) -> Verdict:
    """The first verdict: approved, vetoed, or queued for people.

    Raises UnavailableError where none is told in time, or a freeze holds it."""
    talk = Talk(
        key=command.change_id,
        command=command,
        ends=(ChangeApproved, ChangeVetoed, ChangeQueued, ChangeHeld),
        belongs=lambda fact: getattr(fact, "change_id", "") == command.change_id,
        timeout_seconds=timeout_seconds,
        look_later=f"evoline show change {command.change_id}",
    )
    told = await hold(client.bus, talk)
    if isinstance(told, ChangeHeld):
        raise UnavailableError(f"there is no verdict yet: it {told.reason}; {talk.look_later} shows it then")
    return cast("Verdict", told)
