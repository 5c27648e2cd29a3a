"""`evoline policy show | list | validate | test | propose | rollback | diff` and `evoline maturity`."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from evoline.cli.output import EXIT_NO, AsJson, Author, moment, out, plain, print_json, print_table, run_async
from evoline.cli.progress import text_of
from evoline.cli.proposing import next_step
from evoline.cli.showing import as_yaml
from evoline.client.connection import connected
from evoline.client.proposals import Verdict, propose_maturity, propose_policy, return_to_policy
from shared.errors import ConfigurationError, InvalidInputError, Problem
from shared.events import Query
from shared.events.changes import ChangeVetoed
from shared.events.deployments import GetPipeline
from shared.events.policies import CheckPolicy, GetPolicy, ListPolicies, TestPolicy

MATURITIES = ("experimental", "beta", "production")
MAX_BYTES = 1_000_000
STANDARD_INPUT = Path("-")
SHOWN_ROWS = 40
PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Policy as YAML or JSON; - for standard input.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the change and in the audit log.")]


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("show")(show)
    app.command("list")(list_policies)
    app.command("validate")(validate)
    app.command("test")(test)
    app.command("propose")(propose)
    app.command("rollback")(rollback)
    app.command("diff")(diff)
    return app


def show(
    revision: Annotated[str, typer.Argument(help="Revision, its first 8 digits or more; default: the one in force.")] = "",
    document: Annotated[bool, typer.Option("--document", help="The policy alone, to edit, test and propose.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a policy: where it comes from, and its rules.

    To change it: evoline policy show --document > my_policy.yaml"""
    found = run_async(_ask(GetPolicy(revision=revision)))
    found = found["document"] if document else found
    if as_json:
        print_json(found)
        return
    typer.echo(as_yaml(found), nl=False)


def list_policies(limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=500)] = 50, as_json: AsJson = False) -> None:
    """List all versions that ever were in force, newest first."""
    found = run_async(_ask(ListPolicies(limit=limit)))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            "*" if one["active"] else "",
            one["revision"][:12],
            one["policy"],
            one["version"],
            one["source"],
            one["author"],
            moment(one["created_at"]),
        )
        for one in found["policies"]
    ]
    print_table(("", "revision", "policy", "version", "from", "author", "since"), rows, empty="no policy was ever in force")


def validate(file: PolicyFile, as_json: AsJson = False) -> None:
    """Load a policy as an activation would, without changing anything. Exit code 1 where anything is wrong."""
    found = run_async(_ask(CheckPolicy(document=read_policy(file))))
    if as_json:
        print_json({"valid": True, **found})
    else:
        out().print(
            plain(f"{file}: {found['policy']} version {found['version']}, {found['rules']} rules, {found['revision'][:12]}")
        )


def test(
    file: PolicyFile,
    last: Annotated[int, typer.Option("--last", min=1, max=1000, help="How many of the latest changes.")] = 200,
    since: Annotated[str, typer.Option("--since", help="Only changes from this day or RFC 3339 time on.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask a policy what it would have decided about the changes that were judged before. Nothing changes by asking."""
    query = TestPolicy(document=read_policy(file), last=last, since=since)
    found = run_async(_ask(query, timeout_seconds=30))
    if as_json:
        print_json(found)
    else:
        _print_test(found)


def propose(file: PolicyFile, reason: Reason, author: Author = "", as_json: AsJson = False) -> None:
    """Propose a policy as the one in force. It always waits for people: `evoline review list`."""
    document = read_policy(file)

    async def work() -> Verdict:
        async with connected(author=author, must_sign=True) as client:
            return await propose_policy(client, document, reason)

    _told(run_async(work()), as_json)


def rollback(
    reason: Reason,
    revision: Annotated[str, typer.Argument(help="Former revision; default: the one before the one in force.")] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Propose a former policy again. People decide; no rule of the policy in force can keep it out."""

    async def work() -> Verdict:
        async with connected(author=author, must_sign=True) as client:
            return await return_to_policy(client, revision, reason)

    _told(run_async(work()), as_json)


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="Revision, or a file; `active` is the one in force.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Revision, or a file; `active` is the one in force.")] = "active",
    as_json: AsJson = False,
) -> None:
    """Compare two policies line by line: what B has in place of A."""

    before, after = _text(one), _text(other)
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), one, other, lineterm=""))
    if as_json:
        print_json({"same": not lines, "lines": lines})
    else:
        typer.echo("\n".join(lines) if lines else "no difference")


def maturity(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    to: Annotated[str, typer.Argument(metavar="[MATURITY]", help="experimental, beta or production; default: show it.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; needed to change it.")] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Show a pipeline's maturity, or change it: raising waits for people, lowering holds at once."""
    if not to:
        found = run_async(_ask(GetPipeline(pipeline=pipeline)))
        told = {"pipeline": found["name"], "maturity": found["maturity"]}
        print_json(told) if as_json else out().print(plain(f"{told['pipeline']}: {told['maturity']}"))
        return
    if to not in MATURITIES:
        raise ConfigurationError(f"{to!r} is no maturity: give one of {', '.join(MATURITIES)}")
    if not reason:
        raise ConfigurationError(f"say why: evoline maturity {pipeline} {to} --reason '...'")

    async def work() -> Verdict:
        async with connected(author=author, must_sign=True) as client:
            return await propose_maturity(client, pipeline, to, reason)

    _told(run_async(work()), as_json)


def read_policy(file: Path) -> dict[str, Any]:
    """Raises InvalidInputError with the place."""
    try:
        text = sys.stdin.read(MAX_BYTES + 1) if file == STANDARD_INPUT else file.read_text(encoding="utf-8")
        if len(text) > MAX_BYTES:
            raise InvalidInputError(Problem(file=str(file), reason=f"is larger than {MAX_BYTES} characters"))
        content = yaml.safe_load(text)
    except OSError as error:
        raise InvalidInputError(Problem(file=str(file), reason=f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(Problem(file=str(file), reason=f"is not UTF-8 text (byte {error.start})")) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInputError(Problem(file=str(file), reason=f"is no YAML: {error}")) from error
    if not isinstance(content, dict):
        suggestion = "see services/guardrail/policies/default.yaml"
        raise InvalidInputError(Problem(file=str(file), reason="holds no policy: it must be a map", suggestion=suggestion))
    return content


async def _ask(query: Query, timeout_seconds: float = 5.0) -> dict[str, Any]:
    async with connected() as client:
        return await client.ask(query, timeout_seconds)


def _text(name: str) -> str:
    if Path(name).is_file() or name == str(STANDARD_INPUT):
        return as_yaml(read_policy(Path(name)))
    return as_yaml(run_async(_ask(GetPolicy(revision="" if name == "active" else name)))["document"])


def _told(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        print_json({"verdict": type(verdict).__name__, **verdict.model_dump(mode="json")})
    else:
        for line in (text_of(verdict), f"  {next_step(verdict)}"):
            out().print(plain(line))
    if isinstance(verdict, ChangeVetoed):
        raise SystemExit(EXIT_NO)


def _print_test(found: dict[str, Any]) -> None:
    head = f"{found['policy']} version {found['version']} ({found['revision'][:12]}) on {found['judged']} changes"
    out().print(plain(f"{head}: {found['changed']} would be decided otherwise, {found['unchanged']} the same"))
    for change, count in found["counts"].items():
        out().print(plain(f"  {change}: {count}"))
    rows = [
        (
            "!" if row["was"] != row["would"] else "",
            row["change_id"],
            row["kind"],
            row["pipeline"],
            f"{row['was']} ({row['was_by'].removeprefix('policy:')})",
            f"{row['would']} ({row['would_by'].removeprefix('policy:')})",
            "; ".join(row["reasons"]),
        )
        for row in found["rows"][:SHOWN_ROWS]
    ]
    print_table(("", "change", "kind", "pipeline", "was", "would be", "because"), rows, empty="no change can be asked about again")
    more = len(found["rows"]) - SHOWN_ROWS + found["left_off"]
    if more > 0:
        out().print(f"and {more} more; --json shows them")
    for reason in sorted({each["reason"] for each in found["skipped"]}):
        count = sum(each["reason"] == reason for each in found["skipped"])
        out().print(plain(f"{count} cannot be asked again: {reason}"))
