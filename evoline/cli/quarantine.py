"""`evoline quarantine` and `evoline release`."""

from __future__ import annotations

from typing import Annotated

import typer

from evoline.cli.output import AsJson, Author, out, plain, print_json, run_async
from evoline.cli.reviews import CancelRunning
from evoline.client.api import new_id
from evoline.client.connection import connected
from evoline.client.recovery import Recovery
from shared.errors import InvalidInputError, Problem
from shared.events.changes import ChangeQueued
from shared.events.recovery import QuarantineRevision, ReleaseRevision, RevisionQuarantined

Revision = Annotated[
    str, typer.Argument(metavar="PIPELINE@DIGEST", help="The revision, by 8 or more digits: `evoline show pipeline` lists them.")
]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]


def quarantine(
    revision: Revision,
    reason: Reason,
    even_if_serving: Annotated[
        bool, typer.Option("--even-if-serving", help="Also the stable one: every run of the pipeline is refused then.")
    ] = False,
    cancel_running: CancelRunning = False,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Take a revision out of use with everything made from it: no run starts on it, nobody learns from it.

    For the revision that serves use: evoline rollback."""
    name, digest = _parts(revision)
    command = QuarantineRevision(
        quarantine_id=new_id("quarantine"),
        pipeline=name,
        digest=digest,
        reason=reason,
        author=author,
        even_if_serving=even_if_serving,
        cancel_running=cancel_running,
    )

    async def work() -> RevisionQuarantined:
        async with connected(author=author, must_sign=True) as client:
            return await Recovery(client.bus).quarantine(command)

    fact = run_async(work())
    if as_json:
        print_json(fact)
        return
    out().print(plain(f"quarantined: {', '.join(each[:12] for each in fact.quarantined)}"))
    out().print(plain(f"way back: evoline release {name}@{fact.digest[:12]} --reason ..."))


def release(revision: Revision, reason: Reason, author: Author = "", as_json: AsJson = False) -> None:
    """Propose to take a revision out of quarantine. People decide; what was made from it stays in."""
    name, digest = _parts(revision)
    command = ReleaseRevision(change_id=new_id("release"), pipeline=name, digest=digest, reason=reason, author=author)

    async def work() -> ChangeQueued:
        async with connected(author=author, must_sign=True) as client:
            return await Recovery(client.bus).release(command)

    fact = run_async(work())
    if as_json:
        print_json(fact)
        return
    out().print(plain(f"waits for people: evoline review approve {fact.change_id}"))


def _parts(revision: str) -> tuple[str, str]:
    name, _, digest = revision.partition("@")
    if not digest:
        raise InvalidInputError(
            Problem(path="PIPELINE@DIGEST", reason=f"{revision!r} names no revision", suggestion=f"{name}@<digest>")
        )
    return name, digest
