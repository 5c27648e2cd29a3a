"""`evoline review list | approve | deny` and `evoline rollback`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, Author, out, plain, print_json, print_table, run_async
from evoline.cli.progress import text_of
from evoline.client.connection import connected
from shared.events import Fact
from shared.events.changes import ListReviews, PipelineRolledBack

ChangeId = Annotated[str, typer.Argument(metavar="CHANGE", help="Id of the change, from `evoline review list`.")]
CancelRunning = Annotated[bool, typer.Option("--cancel-running", help="Cancel runs under way on it; else they finish.")]
Comment = Annotated[str, typer.Option("--comment", help="Kept with the decision.")]


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("list")(list_reviews)
    app.command("approve")(approve)
    app.command("deny")(deny)
    return app


def list_reviews(limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=500)] = 50, as_json: AsJson = False) -> None:
    """List the changes that wait for people."""

    async def work() -> list[dict[str, Any]]:
        async with connected() as client:
            rows: list[dict[str, Any]] = (await client.ask(ListReviews(limit=limit)))["reviews"]
            return rows

    found = run_async(work())
    if as_json:
        print_json({"reviews": found})
        return
    rows = [
        (
            one["change_id"],
            one["kind"],
            one["pipeline"],
            f"{one['risk']:.2f} {one['risk_class']}",
            one["author"],
            "; ".join(one["reasons"]),
        )
        for one in found
    ]
    print_table(("change", "kind", "pipeline", "risk", "author", "waits because"), rows, empty="nothing waits for a decision")


def approve(change_id: ChangeId, comment: Comment = "", author: Author = "", as_json: AsJson = False) -> None:
    """Approve a change; its author's approval does not count."""
    _decide(change_id, "approve", comment, author, as_json)


def deny(change_id: ChangeId, comment: Comment = "", author: Author = "", as_json: AsJson = False) -> None:
    """Deny a change."""
    _decide(change_id, "deny", comment, author, as_json)


def _decide(change_id: str, decision: str, comment: str, author: str, as_json: bool) -> None:
    async def work() -> Fact:
        async with connected(author=author) as client:
            return await client.review(change_id, decision, comment=comment)

    fact = run_async(work())
    if as_json:
        print_json({"verdict": type(fact).__name__, **fact.model_dump(mode="json")})
    else:
        out().print(plain(text_of(fact)))


def rollback(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")],
    to: Annotated[str | None, typer.Option(help="Digest of a former revision; default: the one before.")] = None,
    cancel_running: CancelRunning = False,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Make the former revision stable again at once and quarantine the present one with everything made from it."""

    async def work() -> PipelineRolledBack:
        async with connected(author=author) as client:
            return await client.rollback(pipeline, reason, to_digest=to, cancel_running=cancel_running)

    fact = run_async(work())
    if as_json:
        print_json(fact)
        return
    out().print(plain(f"{pipeline}: {fact.from_digest[:12]} -> {fact.to_digest[:12]}"))
    out().print(plain(f"quarantined: {', '.join(digest[:12] for digest in fact.quarantined) or 'nothing'}"))
