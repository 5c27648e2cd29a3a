"""`evoline review delegate | delegations | revoke-delegation`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, Author, moment, out, plain, print_json, print_table, run_async
from evoline.client.connection import connected
from evoline.client.reviews import Reviews
from shared.events.oversight import DelegationRevoked, ListDelegations, ReviewsDelegated


def delegate(
    to: Annotated[str, typer.Argument(metavar="NAME", help="Who may vote in your place.")],
    scope: Annotated[str, typer.Option(help="`*` for all, `pipeline:NAME` or `domain:NAME`.")] = "*",
    days: Annotated[float, typer.Option(min=0.01, max=90, help="How long.")] = 7.0,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Let somebody else vote in your place for a while; never about their own changes, and not passed on."""

    async def work() -> ReviewsDelegated:
        async with connected(author=author, must_sign=True) as client:
            until = datetime.now(UTC) + timedelta(days=days)
            return await Reviews(client.bus, author=author).delegate(to, scope=scope, until=until, reason=reason)

    fact = run_async(work())
    if as_json:
        print_json(fact)
    else:
        out().print(plain(f"{fact.delegation_id}: {fact.delegate} votes for {fact.delegator} on {fact.scope} until {fact.until}"))


def list_all(limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=500)] = 50, as_json: AsJson = False) -> None:
    """List delegations, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with connected() as client:
            rows: list[dict[str, Any]] = (await client.ask(ListDelegations(limit=limit)))["delegations"]
            return rows

    found = run_async(work())
    if as_json:
        print_json({"delegations": found})
        return
    rows = [
        (
            one["delegation_id"],
            one["delegator"],
            one["delegate"],
            one["scope"],
            moment(one["until"]),
            moment(one["revoked"]) or "no",
            one["reason"],
        )
        for one in found
    ]
    print_table(("delegation", "from", "to", "scope", "until", "revoked", "reason"), rows, empty="nobody delegated reviews")


def revoke(
    delegation_id: Annotated[str, typer.Argument(metavar="DELEGATION", help="Id, from `evoline review delegations`.")],
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Take a delegation back."""

    async def work() -> DelegationRevoked:
        async with connected(author=author, must_sign=True) as client:
            return await Reviews(client.bus, author=author).revoke(delegation_id)

    fact = run_async(work())
    if as_json:
        print_json(fact)
    else:
        out().print(plain(f"{fact.delegate} does not vote for {fact.delegator} any more"))
