"""`evoline review ...` and `evoline rollback`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from evoline.cli import delegations
from evoline.cli.output import EXIT_NO, AsJson, Author, err, moment, out, plain, print_json, print_table, run_async
from evoline.cli.progress import text_of
from evoline.cli.review_page import page
from evoline.client.api import Client
from evoline.client.connection import connected
from evoline.client.reviews import Reviews
from shared.errors import EvolineError, InvalidInputError, Problem
from shared.events import Fact
from shared.events.changes import ChangeVetoed, ListReviews
from shared.events.deployments import GetPipeline, PipelineRolledBack

SAME_INCIDENT_SECONDS = 600.0
"""A rollback that is asked for again so soon is the same wish typed twice."""

ChangeId = Annotated[str, typer.Argument(metavar="CHANGE", help="Id of the change, from `evoline review list`.")]
CancelRunning = Annotated[bool, typer.Option("--cancel-running", help="Cancel runs under way on it; else they finish.")]
Comment = Annotated[str, typer.Option("--comment", help="Kept with the decision.")]
NeededComment = Annotated[str, typer.Option("--comment", help="What you say; kept with the change.")]
For = Annotated[str | None, typer.Option("--for", metavar="NAME", help="Vote in the place of NAME, who delegated to you.")]
SeenDigest = Annotated[
    str, typer.Option("--digest", help="First digits of the revision that you looked at; another one is refused.")
]
BreakGlass = Annotated[
    bool, typer.Option("--break-glass", help="Emergency: approve alone (role admin, comment needed); somebody else must confirm.")
]


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("list")(list_reviews)
    app.command("show")(show)
    app.command("approve")(approve)
    app.command("deny")(deny)
    app.command("request-changes")(request_changes)
    app.command("comment")(comment)
    app.command("delegate")(delegations.delegate)
    app.command("delegations")(delegations.list_all)
    app.command("revoke-delegation")(delegations.revoke)
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
            f"{one['missing']} {one['role']}",
            "; ".join(one["reasons"]),
        )
        for one in found
    ]
    columns = ("change", "kind", "pipeline", "risk", "author", "votes missing", "waits because")
    print_table(columns, rows, empty="nothing waits for a decision")


def show(change_id: ChangeId, as_json: AsJson = False) -> None:
    """Show a change as a reviewer has to see it: diff, risk, gate, rules that asked, votes so far and what is missing."""

    async def work() -> dict[str, Any]:
        async with connected() as client:
            return await Reviews(client.bus, author=client.author).look(change_id)

    found = run_async(work())
    if as_json:
        print_json(found)
    else:
        out().print(plain(page(found)))


def approve(  # noqa: PLR0913  one parameter an option of the command
    change_id: ChangeId,
    comment: Comment = "",
    digest: SeenDigest = "",
    delegated_by: For = None,
    break_glass: BreakGlass = False,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Approve a change, exactly as it is shown; its author's approval does not count.

    On a change that was approved in an emergency this confirms it. Exit code 1 where it is vetoed: something changed since."""
    wish = {"comment": comment, "delegated_by": delegated_by, "break_glass": break_glass}
    _decide(change_id, "approve", author, as_json, seen=digest, **wish)


def deny(change_id: ChangeId, comment: Comment = "", author: Author = "", as_json: AsJson = False) -> None:
    """Deny a change; what was approved in an emergency is taken back."""
    _decide(change_id, "deny", author, as_json, comment=comment)


def request_changes(change_id: ChangeId, comment: NeededComment, author: Author = "", as_json: AsJson = False) -> None:
    """Send a change back to its author, who may propose a successor."""
    _decide(change_id, "request_changes", author, as_json, comment=comment)


def comment(change_id: ChangeId, comment: NeededComment, author: Author = "", as_json: AsJson = False) -> None:
    """Say something about a change without deciding."""
    _decide(change_id, "comment", author, as_json, comment=comment)


def _decide(change_id: str, decision: str, author: str, as_json: bool, *, seen: str = "", **wish: Any) -> None:
    async def work() -> Fact | None:
        async with connected(author=author, must_sign=True) as client:
            reviews = Reviews(client.bus, author=author)
            if decision == "approve":
                found = await reviews.look(change_id)
                wish["digest"] = _shown(found, seen, quiet=as_json)
                if _is_counted(found, author, wish):
                    return None
            return await reviews.decide(change_id, decision, **wish)

    fact = run_async(work())
    if fact is None:
        if as_json:
            print_json({"verdict": "AlreadyCounted", "change_id": change_id, "reviewer": author})
        else:
            out().print(plain(f"{change_id}: {author}'s approval of exactly this is counted already; nothing was done"))
        return
    if as_json:
        print_json({"verdict": type(fact).__name__, **fact.model_dump(mode="json")})
    else:
        out().print(plain(text_of(fact)))
    if decision == "approve" and isinstance(fact, ChangeVetoed):
        raise SystemExit(EXIT_NO)


def _is_counted(found: dict[str, Any], author: str, wish: dict[str, Any]) -> bool:
    """Whether this very vote is in already. In an emergency, and after one, it means something else."""
    if wish.get("break_glass") or wish.get("delegated_by") or found.get("glass"):
        return False
    return author.casefold() in {str(each).casefold() for each in found["votes"]}


def _shown(found: dict[str, Any], seen: str, *, quiet: bool) -> str:
    """The digest of what is shown here, which is what the approval is for."""
    digest = str(found["digest"])
    if not digest.startswith(seen):
        reason = f"the change is {digest[:12]} now, not {seen}"
        raise InvalidInputError(Problem(path="--digest", reason=reason, suggestion=f"evoline review show {found['change_id']}"))
    if not quiet and not seen:
        err().print(plain(page(found)))
    return digest


def rollback(  # noqa: PLR0913  one parameter an option of the command
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")],
    to: Annotated[str | None, typer.Option(help="Digest of a former revision; default: the one before.")] = None,
    again: Annotated[bool, typer.Option("--again", help="One further back, where it was rolled back already.")] = False,
    cancel_running: CancelRunning = False,
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Make the former revision stable again at once and quarantine the present one with everything made from it.

    Typed twice it goes back once: the second time it says so, with exit code 1 where the first was more than 10 minutes ago, since
    this may be about another incident. --again, or --to, goes further."""

    async def work() -> PipelineRolledBack | dict[str, Any]:
        async with connected(author=author, must_sign=True) as client:
            if not (again or to) and (done := await _already_back(client, pipeline)):
                return done
            return await client.rollback(pipeline, reason, to_digest=to, cancel_running=cancel_running)

    fact = run_async(work())
    if isinstance(fact, dict):
        _tell_already_back(pipeline, fact, as_json)
        if is_long_ago(fact["at"], datetime.now(UTC)):
            raise SystemExit(EXIT_NO)
        return
    if as_json:
        print_json(fact)
        return
    out().print(plain(f"{pipeline}: {fact.from_digest[:12]} -> {fact.to_digest[:12]}"))
    out().print(plain(f"quarantined: {', '.join(digest[:12] for digest in fact.quarantined) or 'nothing'}"))


async def _already_back(client: Client, pipeline: str) -> dict[str, Any] | None:
    """The rollback that brought what serves. Without an answer, or for a name that is none, the rollback itself says what is wrong:
    it must not wait for a question."""
    try:
        done: dict[str, Any] | None = (await client.ask(GetPipeline.model_validate({"pipeline": pipeline}), 2.0)).get("rolled_back")
        return done
    except (EvolineError, ValidationError):
        return None


def is_long_ago(at: str, now: datetime) -> bool:
    """Whether a rollback of then can hardly be the one that somebody asks for now."""
    return (now - datetime.fromisoformat(at)).total_seconds() > SAME_INCIDENT_SECONDS


def _tell_already_back(pipeline: str, done: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({**done, "pipeline": pipeline, "already": True})
        return
    out().print(
        plain(
            f"{pipeline} is rolled back already: {done['from_digest'][:12]} -> {done['to_digest'][:12]} by {done['author']} at "
            f"{moment(done['at'])}; nothing was done (--again goes one further back, --to DIGEST to a certain one)"
        )
    )
